"""Authentication: which keys are accepted, and how often Firestore is read."""

import asyncio
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.auth.credential_source import FoundCaller
from graphql_api.auth.key_store import KeyStore
from graphql_api.budgets import request_turns
from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.request_turns import MAX_STARTS
from graphql_api.configuration.limits import Limits
from graphql_api.credential_errors import MissingScope
from graphql_api.errors import QuotaExceeded
from graphql_api.graphql_server.requests.request_headers import Credential
from graphql_api.graphql_server.revocation import wait_until_refused
from storage.documents import RateLimited, Unauthenticated, Unavailable
from tests.graphql_api.auth.memory_key_store import SCOPES, VALID, MemoryKeyStore
from tests.graphql_api.auth.oauth.provider import ED, MemoryAuditLog, Provider, claims, sign
from tests.stack import PATIENCE_SECONDS

NOW = datetime.now(UTC)


def _authenticator(store: KeyStore, *, cache_seconds: float = 60, limits: Limits = Limits()) -> Authenticator:  # noqa: B008
    return Authenticator([store], Budgets(limits), MemoryAuditLog(), cache_seconds=cache_seconds)


def _from(key: str | None, address: str = "192.0.2.1") -> Credential:
    return Credential(key, address)


async def _attempts(authenticator: Authenticator, count: int) -> list[BaseException | Caller]:
    """Send requests with unknown keys at the same time. Return their outcomes."""
    unknown = (authenticator.authenticate(_from(new_key())) for _ in range(count))
    return await asyncio.gather(*unknown, return_exceptions=True)


async def test_the_cache_of_valid_credentials_does_not_keep_tokens() -> None:
    """A token has up to 8 KiB, and the cache keeps thousands of callers until their tokens expire."""
    authenticator = Authenticator([Provider().tokens()], Budgets(Limits()), MemoryAuditLog(), cache_seconds=60)
    await authenticator.authenticate(_from(sign(claims(), ED, "Ed25519")))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    for number in range(100):
        token = sign(claims(jti=str(number), note="a" * 5_500), ED, "Ed25519")
        await authenticator.authenticate(_from(token))

    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 100 < len(token) / 2


async def test_concurrent_requests_with_one_key_share_a_read() -> None:
    """A request that is cancelled meanwhile does not cancel the read."""
    key = new_key()
    store = MemoryKeyStore({key: VALID})
    store.release.clear()
    authenticator = _authenticator(store, cache_seconds=60)

    requests = [asyncio.create_task(authenticator.authenticate(_from(key))) for _ in range(10)]
    await asyncio.sleep(0)
    requests[0].cancel()
    store.release.set()
    callers = await asyncio.gather(*requests, return_exceptions=True)

    assert isinstance(callers[0], asyncio.CancelledError)
    assert callers[1:] == [Caller("one", SCOPES)] * 9
    assert store.reads == 1


async def test_requests_that_shared_a_read_continue_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of requests that wait for one read do not all continue in one iteration of the event loop."""
    monkeypatch.setattr(request_turns, "MAX_START_SECONDS", 0)
    key = new_key()
    store = MemoryKeyStore({key: VALID})
    store.release.clear()
    authenticator = _authenticator(store)
    requests = [asyncio.create_task(authenticator.authenticate(_from(key))) for _ in range(5 * MAX_STARTS)]
    await asyncio.sleep(0)
    store.release.set()

    continued = [0]
    while continued[-1] < len(requests):
        await asyncio.sleep(0)
        continued.append(sum(request.done() for request in requests))

    assert max(after - before for before, after in pairwise(continued)) == MAX_STARTS


async def test_refused_requests_for_another_submitter_count_towards_the_limits_of_the_key() -> None:
    """Each endpoint counts a request only after the authentication."""
    key = new_key()
    limits = Limits(max_requests_per_second_per_submitter=1)
    authenticator = _authenticator(MemoryKeyStore({key: VALID}), limits=limits)
    refusals: list[BaseException | Caller] = []

    for _ in range(100):
        request = authenticator.authenticate(Credential(key, "192.0.2.1", submitter="two"))
        refusals += await asyncio.gather(request, return_exceptions=True)

    assert {type(refusal) for refusal in refusals} == {MissingScope, QuotaExceeded}


async def test_an_open_stream_ends_without_the_scope_even_if_the_key_has_sent_too_much() -> None:
    """Its checks are not requests. A limit that is reached would be an error after which the stream continues."""
    key = new_key()
    budgets = Budgets(Limits(max_requests_per_second_per_submitter=1))
    authenticator = Authenticator([MemoryKeyStore({key: VALID})], budgets, MemoryAuditLog(), cache_seconds=60)
    credential = Credential(key, "192.0.2.1", submitter="two")
    budgets.allowance(Caller("one", SCOPES)).requests.take(1_000_000)

    with pytest.raises(QuotaExceeded):
        await authenticator.authenticate(credential)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert isinstance(await wait_until_refused(authenticator.authenticate, credential, 0), MissingScope)


@pytest.mark.parametrize(("cache_seconds", "reads"), [(60, 1), (0, 3)])
async def test_keys_are_cached(cache_seconds: float, reads: int) -> None:
    """Keys that do not exist are cached too."""
    key, unknown = new_key(), new_key()
    store = MemoryKeyStore({key: VALID})
    authenticator = _authenticator(store, cache_seconds=cache_seconds)

    for _ in range(3):
        await authenticator.authenticate(_from(key))
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(_from(unknown))

    assert store.reads == 2 * reads


async def test_a_failed_read_is_not_cached() -> None:
    """The next request reads again."""
    key = new_key()
    store = MemoryKeyStore({key: VALID})
    store.error = Unavailable("Firestore does not respond")
    authenticator = _authenticator(store, cache_seconds=60)

    with pytest.raises(Unavailable):
        await authenticator.authenticate(_from(key))
    store.error = None

    assert await authenticator.authenticate(_from(key)) == Caller("one", SCOPES)


@pytest.mark.parametrize("key", [None, "", "wrong", "dz_é", "dz_" + "x" * 1_000])
async def test_a_text_that_cannot_be_a_key_is_refused_without_a_read(key: str | None) -> None:
    """Random credentials cost no reads of Firestore."""
    store = MemoryKeyStore({})

    with pytest.raises(Unauthenticated):
        await _authenticator(store, cache_seconds=60).authenticate(_from(key))

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
    authenticator = _authenticator(MemoryKeyStore({key: api_key}))

    with pytest.raises(Unauthenticated) as refused:
        await authenticator.authenticate(_from(key))
    with pytest.raises(Unauthenticated) as unknown:
        await authenticator.authenticate(_from(new_key()))

    assert str(refused.value) == str(unknown.value)


async def test_unknown_keys_of_an_address_are_refused_without_a_read_beyond_the_limit() -> None:
    """The refusal names the limit, and says when to retry. Another address is not affected."""
    known = new_key()
    store = MemoryKeyStore({known: VALID})
    authenticator = _authenticator(store, limits=Limits(max_failed_authentications_per_second=3))

    outcomes = await _attempts(authenticator, 500)

    refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimited)]
    assert store.reads < 3 + 20
    assert len(refused) >= 500 - store.reads
    assert (refused[0].limit, refused[0].retry_after) == ("max_failed_authentications_per_second", 1)
    assert await authenticator.authenticate(_from(known, "192.0.2.2")) == Caller("one", SCOPES)


async def test_a_known_key_is_read_again_even_if_its_address_is_at_the_limit() -> None:
    """Its cache entry has expired, and no flood of unknown keys has displaced it."""
    key = new_key()
    store = MemoryKeyStore({key: VALID})
    authenticator = _authenticator(store, cache_seconds=0, limits=Limits(max_failed_authentications_per_second=1))
    await authenticator.authenticate(_from(key))
    await _attempts(authenticator, 50)
    reads = store.reads

    callers = [await authenticator.authenticate(_from(key)) for _ in range(5)]

    assert callers == [Caller("one", SCOPES)] * 5
    assert store.reads == reads + 5


async def test_many_new_keys_of_one_address_are_all_accepted() -> None:
    """The limit applies to failures only. Keys wait while others are read."""
    keys = [new_key() for _ in range(200)]
    store = MemoryKeyStore(dict.fromkeys(keys, VALID))
    authenticator = _authenticator(store, limits=Limits(max_failed_authentications_per_second=1))

    callers = await asyncio.gather(*(authenticator.authenticate(_from(key)) for key in keys))

    assert callers == [Caller("one", SCOPES)] * 200


class HangingProvider:
    """Access tokens whose identity provider does not respond until `release` is set."""

    kind = "token"
    is_revocable = False

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def was_stored(self, text: str) -> bool:
        """Return False: tokens are not stored."""
        return False

    def recognizes(self, text: str) -> bool:
        """Return whether a text is a token."""
        return text.startswith("token")

    async def find(self, text: str) -> FoundCaller | None:
        """Wait for the provider. No token is valid."""
        del text
        await self.release.wait()
        return None


async def test_an_unknown_key_does_not_wait_for_tokens_of_the_same_address() -> None:
    """The checks of tokens wait for their provider. Behind a proxy, all clients have the same address."""
    key = new_key()
    store = MemoryKeyStore({key: VALID})
    provider = HangingProvider()
    authenticator = Authenticator([provider, store], Budgets(Limits()), MemoryAuditLog(), cache_seconds=60)

    tokens = [asyncio.create_task(authenticator.authenticate(_from(f"token{number}"))) for number in range(100)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        caller = await authenticator.authenticate(_from(key))

    assert caller.submitter == "one"
    assert not any(token.done() for token in tokens)
    provider.release.set()
    outcomes = await asyncio.gather(*tokens, return_exceptions=True)
    assert all(isinstance(outcome, Unauthenticated | RateLimited) for outcome in outcomes)
