"""Authentication: a credential becomes a caller.

Keys are cached for a few seconds, so most requests read nothing from Firestore. A revoked key stops working
when its cache entry expires. Concurrent requests with an uncached key share one read.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import NamedTuple

from cachetools import TLRUCache

from graphql_api.auth.api_keys import ApiKey, digest, is_key
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.scopes import Caller
from storage.documents import Unauthenticated

_MAX_CACHED_KEYS = 10_000


class _CacheEntry(NamedTuple):
    """An API key, or None for a key that does not exist, and the monotonic time when the entry expires."""

    api_key: ApiKey | None
    expires_at: float


class Authenticator:
    """Authenticates callers by their API keys. Used by one event loop."""

    def __init__(self, key_store: KeyStore, *, cache_seconds: float) -> None:
        self._key_store = key_store
        self._cache_seconds = cache_seconds
        self._cache: TLRUCache[str, _CacheEntry] = TLRUCache(
            _MAX_CACHED_KEYS, ttu=lambda _, entry, now: entry.expires_at, timer=time.monotonic
        )
        self._reads: dict[str, asyncio.Task[ApiKey | None]] = {}

    async def authenticate(self, credential: str | None) -> Caller:
        """Return the caller that `credential` authenticates.

        Raises `Unauthenticated`, with the same message for a missing, unknown, expired and revoked key.
        Raises `Unavailable` if Firestore does not respond.
        """
        api_key = await self._find(credential) if credential else None
        if api_key is None or not api_key.is_valid_at(datetime.now(UTC)):
            raise Unauthenticated("send a valid API key in the header x-api-key, or as Authorization: Bearer")
        return Caller(api_key.submitter, api_key.scopes)

    async def _find(self, key: str) -> ApiKey | None:
        if not is_key(key):
            return None
        key_digest = digest(key)
        entry = self._cache.get(key_digest)
        if entry is not None:
            return entry.api_key
        read = self._reads.get(key_digest)
        if read is None:
            read = self._reads[key_digest] = asyncio.create_task(self._read(key_digest))
            read.add_done_callback(lambda _: self._reads.pop(key_digest))
        return await asyncio.shield(read)  # a cancelled request does not cancel the read that others await

    async def _read(self, key_digest: str) -> ApiKey | None:
        expires_at = time.monotonic() + self._cache_seconds  # counted from before the read, which may be slow
        api_key = await self._key_store.read(key_digest)
        self._cache[key_digest] = _CacheEntry(api_key, expires_at)
        return api_key
