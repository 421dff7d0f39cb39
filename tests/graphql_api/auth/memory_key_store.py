"""API keys in memory, for tests of the authenticator."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from graphql_api.auth.api_keys import ApiKey
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.secret_text import digest
from graphql_api.scopes import Scope

SCOPES = frozenset({Scope.READ})
VALID = ApiKey("one", SCOPES, "", datetime.now(UTC))


class MemoryKeyStore(KeyStore):
    """API keys in a dictionary. It counts reads, and each read waits until `release` is set."""

    def __init__(self, api_keys: Mapping[str, ApiKey]) -> None:
        self.reads = 0
        self.release = asyncio.Event()
        self.release.set()
        self.error: Exception | None = None
        self._api_keys = {digest(key): api_key for key, api_key in api_keys.items()}

    def note_use(self, key_digest: str, api_key: ApiKey) -> None:
        """Store nothing."""

    def note_refusal(self, key_digest: str, api_key: ApiKey) -> None:
        """Store nothing."""

    async def was_stored(self, text: str) -> bool:
        """Return whether a key exists, without a read."""
        return digest(text) in self._api_keys

    async def read(self, key_digest: str) -> ApiKey | None:
        """Return an API key, or raise `error` if it is set."""
        self.reads += 1
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return self._api_keys.get(key_digest)
