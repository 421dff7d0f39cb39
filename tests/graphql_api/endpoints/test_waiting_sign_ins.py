"""Sign-ins of one submitter: they wait for each other, within the budget of the submitter."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.credential_errors import FOR_KEYS
from graphql_api.endpoints.middleware.exception_handlers import ErrorResponder
from graphql_api.endpoints.provider_sign_in import SIGN_IN, ProviderSignInEndpoints
from graphql_api.endpoints.sessions import SessionEndpoints
from graphql_api.scopes import Scope
from observability import request_context
from observability.request_context import RequestContext
from tests.stack import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio

MAX_RUNNING = 16
MAX_WAITING = 10
CALLER = Caller("local", frozenset({Scope.READ}), "key 12345678", None)


class BusySessions:
    """Sessions of which none is stored."""

    def __init__(self) -> None:
        self.starting = 0

    def recognizes(self, text: str) -> bool:
        """Return that a key is not a session."""
        return False

    async def exchange(self, token: str) -> None:
        """Find no link."""

    async def start(self, caller: Caller, key_digest: str | None) -> tuple[str, object]:
        """Wait until the request ends."""
        self.starting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.starting -= 1
        raise AssertionError


async def authenticate(credential: object) -> Caller:
    """Return a caller."""
    return CALLER


class SignIn:
    """A request for a session."""

    def __init__(self, app: Starlette, method: str, path: str, link: str = "") -> None:
        self.sent: list[Message] = []
        self.disconnected = asyncio.Event()
        self._headers = [(b"content-type", b"application/json")] if link else [(b"x-api-key", b"a key")]
        self._received: list[Message] = [{"type": "http.request", "body": json.dumps({"token": link}).encode()}]
        self.task = asyncio.create_task(self._run(app, method, path))

    async def _run(self, app: Starlette, method: str, path: str) -> None:
        request_context.enter(RequestContext(b"", b""))
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "query_string": b"",
            "headers": self._headers,
            "state": {},
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._received:
            return self._received.pop()
        await self.disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


class HangingProvider:
    """An identity provider that does not respond."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.waiting = 0

    async def start(self, page: str) -> tuple[str, str]:
        """Wait until the request ends."""
        return await self.finish({}, page)

    async def finish(self, parameters: object, value: object) -> tuple[str, str]:
        """Wait until the request ends."""
        self.waiting += 1
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1
        raise AssertionError


@pytest.mark.parametrize("path", ["/session/sign-in", "/session/callback"])
async def test_a_sign_in_at_a_provider_that_does_not_respond_ends_with_its_client(path: str) -> None:
    """Otherwise, sign-ins of clients that are gone would delay those of the same address for minutes."""
    provider, budgets = HangingProvider(), Budgets(Limits())
    services: Any = SimpleNamespace(budgets=budgets, code_flow=provider)
    endpoints = ProviderSignInEndpoints(services).endpoints
    app = Starlette(routes=[each.route for each in endpoints], exception_handlers=ErrorResponder(FOR_KEYS).handlers)

    sign_ins = [SignIn(app, "GET", path) for _ in range(50)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await provider.asked.wait()
        for each in sign_ins:
            each.disconnected.set()
        await asyncio.gather(*(each.task for each in sign_ins))

    assert provider.waiting == 0
    assert not any(each.sent for each in sign_ins)
    running = budgets.addresses.attempts("", SIGN_IN).running
    assert (running.used, running.waiting) == (0, 0)


async def test_sign_ins_that_end_with_their_clients_are_failed_attempts() -> None:
    """Otherwise, clients that disconnect at once could start any number of requests to the provider."""
    sign_ins: list[SignIn] = []

    async def finish(parameters: object, value: object) -> tuple[str, str]:
        sign_ins[-1].disconnected.set()
        return await HangingProvider().finish(parameters, value)

    budgets = Budgets(Limits(max_failed_authentications_per_second=1))
    services: Any = SimpleNamespace(budgets=budgets, code_flow=SimpleNamespace(finish=finish))
    endpoints = ProviderSignInEndpoints(services).endpoints
    app = Starlette(routes=[each.route for each in endpoints], exception_handlers=ErrorResponder(FOR_KEYS).handlers)

    for _ in range(50):
        sign_ins.append(SignIn(app, "GET", "/session/callback"))
        await sign_ins[-1].task

    assert 429 in [each.sent[0]["status"] for each in sign_ins if each.sent]


async def test_a_provider_that_does_not_respond_does_not_delay_sign_in_links() -> None:
    """An operator can send links to users while the provider is down."""
    provider = HangingProvider()
    services: Any = SimpleNamespace(budgets=Budgets(Limits()), code_flow=provider, sessions=BusySessions())
    endpoints = [*SessionEndpoints(services).endpoints, *ProviderSignInEndpoints(services).endpoints]
    app = Starlette(routes=[each.route for each in endpoints], exception_handlers=ErrorResponder(FOR_KEYS).handlers)

    sign_ins = [SignIn(app, "GET", "/session/callback") for _ in range(50)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await provider.asked.wait()
        link = SignIn(app, "POST", "/session", "a link that was used")
        await link.task
        for each in sign_ins:
            each.disconnected.set()
        await asyncio.gather(*(each.task for each in sign_ins))

    assert link.sent[0]["status"] == 401


async def finish(parameters: object, value: object) -> tuple[str, str]:
    """Finish a sign-in at the identity provider. Return an access token and a page."""
    return "a token", "/"


@pytest.mark.parametrize(("method", "path"), [("POST", "/session"), ("GET", "/session/callback")])
async def test_sign_ins_wait_within_the_budget_and_end_with_their_clients(method: str, path: str) -> None:
    """Otherwise, clients that disconnect would leave any number of sign-ins, which run one after the other."""
    sessions = BusySessions()
    budgets = Budgets(Limits(max_waiting_operations_per_submitter=MAX_WAITING))
    services: Any = SimpleNamespace(
        authenticator=SimpleNamespace(authenticate=authenticate),
        budgets=budgets,
        code_flow=SimpleNamespace(finish=finish),
        keys=SimpleNamespace(recognizes=lambda _: True),
        sessions=sessions,
    )
    endpoints = [*SessionEndpoints(services).endpoints, *ProviderSignInEndpoints(services).endpoints]
    app = Starlette(routes=[each.route for each in endpoints], exception_handlers=ErrorResponder(FOR_KEYS).handlers)

    sign_ins = [SignIn(app, method, path) for _ in range(MAX_RUNNING + MAX_WAITING + 1)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await sign_ins[-1].task
    running = sessions.starting
    for each in sign_ins:
        each.disconnected.set()
    await asyncio.gather(*(each.task for each in sign_ins))

    assert sign_ins[-1].sent[0]["status"] == 429
    assert 1 <= running <= MAX_RUNNING
    assert sessions.starting == 0
    assert not any(each.sent for each in sign_ins[:-1])
    assert budgets.submitter("local").is_unused
