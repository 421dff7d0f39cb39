"""Authentication: which keys are accepted, and how often Firestore is read."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from graphql_api.auth.api_keys import ApiKey, digest, new_key
from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.scopes import Caller, Scope
from storage.documents import Unauthenticated, Unavailable

NOW = datetime.now(UTC)
SCOPES = frozenset({Scope.READ})
VALID = ApiKey("one", SCOPES, "", NOW)


class MemoryKeyStore(KeyStore):
    """API keys in a dictionary. It counts reads, and each read waits until `release` is set."""

    def __init__(self, api_keys: Mapping[str, ApiKey]) -> None:
        self.reads = 0
        self.release = asyncio.Event()
        self.release.set()
        self.error: Exception | None = None
        self._api_keys = {digest(key): api_key for key, api_key in api_keys.items()}

    async def read(self, digest: str) -> ApiKey | None:
        """Return an API key, or raise `error` if it is set."""
        self.reads += 1
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return self._api_keys.get(digest)


async def test_concurrent_requests_with_one_key_share_a_read() -> None:
    """A request that is cancelled meanwhile does not cancel the read."""
    key = new_key()
    store = MemoryKeyStore({key: VALID})
    store.release.clear()
    authenticator = Authenticator(store, cache_seconds=60)

    requests = [asyncio.create_task(authenticator.authenticate(key)) for _ in range(10)]
    await asyncio.sleep(0)
    requests[0].cancel()
    store.release.set()
    callers = await asyncio.gather(*requests, return_exceptions=True)

    assert isinstance(callers[0], asyncio.CancelledError)
    assert callers[1:] == [Caller("one", SCOPES)] * 9
    assert store.reads == 1


@pytest.mark.parametrize(("cache_seconds", "reads"), [(60, 1), (0, 3)])
async def test_keys_are_cached(cache_seconds: float, reads: int) -> None:
    """Keys that do not exist are cached too."""
    key, unknown = new_key(), new_key()
    store = MemoryKeyStore({key: VALID})
    authenticator = Authenticator(store, cache_seconds=cache_seconds)

    for _ in range(3):
        await authenticator.authenticate(key)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(unknown)

    assert store.reads == 2 * reads


async def test_a_failed_read_is_not_cached() -> None:
    """The next request reads again."""
    key = new_key()
    store = MemoryKeyStore({key: VALID})
    store.error = Unavailable("Firestore does not respond")
    authenticator = Authenticator(store, cache_seconds=60)

    with pytest.raises(Unavailable):
        await authenticator.authenticate(key)
    store.error = None

    assert await authenticator.authenticate(key) == Caller("one", SCOPES)


@pytest.mark.parametrize("key", [None, "", "wrong", "dz_é", "dz_" + "x" * 1_000])
async def test_a_text_that_cannot_be_a_key_is_refused_without_a_read(key: str | None) -> None:
    """Random credentials cost no reads of Firestore."""
    store = MemoryKeyStore({})

    with pytest.raises(Unauthenticated):
        await Authenticator(store, cache_seconds=60).authenticate(key)

    assert store.reads == 0


@pytest.mark.parametrize(
    "api_key",
    [
        ApiKey("one", SCOPES, "", NOW, expires=NOW - timedelta(seconds=1)),
        ApiKey("one", SCOPES, "", NOW, revoked=NOW),
    ],
    ids=["expired", "revoked"],
)
async def test_an_expired_or_revoked_key_is_refused_as_an_unknown_one(api_key: ApiKey) -> None:
    """The message does not reveal that the key exists."""
    key = new_key()
    authenticator = Authenticator(MemoryKeyStore({key: api_key}), cache_seconds=60)

    with pytest.raises(Unauthenticated) as refused:
        await authenticator.authenticate(key)
    with pytest.raises(Unauthenticated) as unknown:
        await authenticator.authenticate(new_key())

    assert str(refused.value) == str(unknown.value)
