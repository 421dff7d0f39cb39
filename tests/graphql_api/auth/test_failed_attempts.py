"""The limit on credentials that are not valid, by kind of credential."""

import asyncio
from dataclasses import dataclass

import pytest

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.auth.credential_source import FoundCaller
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server.requests.request_headers import Credential
from graphql_api.scopes import Scope
from storage.documents import RateLimited
from tests.graphql_api.auth.oauth.provider import MemoryAuditLog

CALLER = Caller("one", frozenset({Scope.READ}))
ADDRESS = "192.0.2.1"


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of credential. One credential of each kind is valid."""

    kind: str
    is_revocable: bool = True

    def recognizes(self, text: str) -> bool:
        """Return whether a text starts with the name of this kind."""
        return text.startswith(self.kind)

    async def was_stored(self, text: str) -> bool:
        """Return False: no list of the credentials exists."""
        del text
        return False

    async def find(self, text: str) -> FoundCaller | None:
        """Return the caller of the valid credential."""
        await asyncio.sleep(0)
        return FoundCaller(CALLER, 60.0) if text == f"{self.kind} valid" else None


@pytest.mark.parametrize("kind", ["session", "token"])
async def test_wrong_keys_of_an_address_do_not_prevent_credentials_of_another_kind(kind: str) -> None:
    """A user can share the address with devices whose keys are revoked."""
    budgets = Budgets(Limits(max_failed_authentications_per_second=1))
    sources = [Source("key"), Source("session"), Source("token", is_revocable=False)]
    authenticator = Authenticator(sources, budgets, MemoryAuditLog(), cache_seconds=60)
    wrong = [authenticator.authenticate(Credential(f"key {number}", ADDRESS)) for number in range(50)]

    outcomes = await asyncio.gather(*wrong, return_exceptions=True)

    assert any(isinstance(outcome, RateLimited) for outcome in outcomes)
    with pytest.raises(RateLimited):
        await authenticator.authenticate(Credential("key valid", ADDRESS))
    assert await authenticator.authenticate(Credential(f"{kind} valid", ADDRESS)) == CALLER
