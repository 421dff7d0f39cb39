"""New keys of an address that sends too many unknown keys."""

import asyncio

from graphql_api.auth.api_keys import new_key
from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server.requests.request_headers import Credential
from storage.documents import RateLimited
from tests.graphql_api.auth.memory_key_store import SCOPES, VALID, MemoryKeyStore
from tests.graphql_api.auth.oauth.provider import MemoryAuditLog


async def test_a_new_key_is_accepted_even_if_its_address_is_at_the_limit() -> None:
    """It is in the list of all keys. Many clients can have the same address, and a process starts without any key."""
    keys = [new_key() for _ in range(5)]
    store = MemoryKeyStore(dict.fromkeys(keys, VALID))
    budgets = Budgets(Limits(max_failed_authentications_per_second=1))
    authenticator = Authenticator([store], budgets, MemoryAuditLog(), cache_seconds=60)
    unknown = (authenticator.authenticate(Credential(new_key(), "192.0.2.1")) for _ in range(50))
    outcomes = await asyncio.gather(*unknown, return_exceptions=True)
    assert any(isinstance(outcome, RateLimited) for outcome in outcomes)

    callers = [await authenticator.authenticate(Credential(key, "192.0.2.1")) for key in keys]

    assert callers == [Caller("one", SCOPES)] * 5
