"""The log of a sign-in at the identity provider that the API refuses."""

import logging
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.credential_errors import InvalidCredential
from graphql_api.endpoints.provider_sign_in import ProviderSignInEndpoints


async def finish(parameters: object, value: object) -> tuple[str, str]:
    """Finish a sign-in. Return an access token and a page."""
    return "a token for another API", "/"


async def refuse(credential: object) -> None:
    """Refuse a token like any other credential."""
    raise InvalidCredential("send a valid API key in the header x-api-key")


async def test_the_log_of_a_refused_token_is_not_about_keys(caplog: pytest.LogCaptureFixture) -> None:
    """The user did not send a key. The log and the audit log have the same cause."""
    causes = []
    services: Any = SimpleNamespace(
        audit_log=SimpleNamespace(add_once_per_day=lambda _, cause, **entry: causes.append(cause)),
        authenticator=SimpleNamespace(authenticate=refuse),
        budgets=Budgets(Limits()),
        code_flow=SimpleNamespace(finish=finish),
    )
    app = Starlette(routes=[each.route for each in ProviderSignInEndpoints(services).endpoints])

    with caplog.at_level(logging.INFO, "graphql_api"):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            response = await client.get("/session/callback")

    assert response.headers["location"] == "/#sign-in-failed"
    assert causes == ["the API does not accept the token of the identity provider"]
    messages = [each.message for each in caplog.records if each.name == "graphql_api"]
    assert messages == [f"a sign-in at the identity provider failed: {causes[0]}"]
