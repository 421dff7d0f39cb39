"""Authentication: finds the caller that an API key belongs to.

The authenticator caches callers for a few seconds, so most requests read nothing from Firestore. A revoked key
stops working when its cache entry expires. Concurrent requests with the same uncached key share one read.
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
    """The caller of a key (None if the key is not valid), and the monotonic time when the entry expires."""

    caller: Caller | None
    expires_at: float


class Authenticator:
    """Authenticates callers by their API keys. Used by one event loop."""

    def __init__(self, key_store: KeyStore, *, cache_seconds: float) -> None:
        self._key_store = key_store
        self._cache_seconds = cache_seconds
        self._cache: TLRUCache[str, _CacheEntry] = TLRUCache(
            _MAX_CACHED_KEYS, ttu=lambda _, entry, now: entry.expires_at, timer=time.monotonic
        )
        self._reads: dict[str, asyncio.Task[Caller | None]] = {}

    async def authenticate(self, credential: str | None) -> Caller:
        """Return the caller that `credential` authenticates.

        Raises `Unauthenticated` if the key is missing, unknown, expired or revoked. The message is always the same.
        Raises `Unavailable` if Firestore does not respond.
        """
        entry = self._cache.get(credential) if credential else None
        caller = entry.caller if entry is not None else await self._find(credential)
        if caller is None:
            raise Unauthenticated("send a valid API key in the header x-api-key, or as Authorization: Bearer")
        return caller

    async def _find(self, key: str | None) -> Caller | None:
        if key is None or not is_key(key):
            return None
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(self._read(key))
            read.add_done_callback(lambda _: self._reads.pop(key))
        return await asyncio.shield(read)  # a cancelled request must not cancel a read that other requests await

    async def _read(self, key: str) -> Caller | None:
        expires_at = time.monotonic() + self._cache_seconds  # the time starts before the read, which may be slow
        api_key = await self._key_store.read(digest(key))
        lifetime = 0.0 if api_key is None else _remaining_seconds(api_key)
        caller = None if api_key is None or lifetime <= 0 else Caller(api_key.submitter, api_key.scopes)
        if caller is not None:
            expires_at = min(expires_at, time.monotonic() + lifetime)
        self._cache[key] = _CacheEntry(caller, expires_at)
        return caller


def _remaining_seconds(api_key: ApiKey) -> float:
    """Return for how many seconds a key stays valid, or 0 if the key is not valid now."""
    now = datetime.now(UTC)
    if not api_key.is_valid_at(now):
        return 0.0
    return float("inf") if api_key.expires is None else (api_key.expires - now).total_seconds()
