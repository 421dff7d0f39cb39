"""Requests start in turns, before the API reads or authenticates them."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from unittest.mock import AsyncMock

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_api.budgets import request_turns
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.credential_errors import FOR_KEYS
from graphql_api.endpoints.middleware.cross_origin import allow_origins
from graphql_api.endpoints.middleware.exception_handlers import ErrorResponder
from graphql_api.endpoints.middleware.request_recorder import RequestRecorder
from graphql_api.graphql_server.tcp_state import TRANSPORT
from storage.documents.errors import Unavailable

_ORIGIN = "https://lab.example"


def _application(budgets: Budgets, handle: Callable[[Request], Awaitable[Response]]) -> Starlette:
    """Return an application that handles each request with `handle`.

    A key is the name of its submitter, whose key was valid a short time ago.
    """
    services = SimpleNamespace(budgets=budgets, authenticator=SimpleNamespace(known_submitter=lambda key: key))
    routes = [Route(path, handle) for path in ("/", "/healthz")]
    recorder = Middleware(RequestRecorder, routes, services, ErrorResponder(FOR_KEYS), allow_origins([_ORIGIN]))
    return Starlette(routes=routes, middleware=[recorder])


def _client(budgets: Budgets, handle: Callable[[Request], Awaitable[Response]]) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(_application(budgets, handle))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


async def _order(monkeypatch: pytest.MonkeyPatch, requests: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Send requests with a path and a key at the same time, and return them in the order in which they started.

    The empty key is a request without a key.
    """
    monkeypatch.setattr(request_turns, "MAX_START_SECONDS", 0)
    started = []

    async def handle(request: Request) -> Response:
        started.append((request.url.path, request.headers["x-api-key"]))
        return Response()

    async with _client(Budgets(Limits()), handle) as client:
        await asyncio.gather(*(client.get(path, headers={"x-api-key": key}) for path, key in requests))

    assert len(started) == len(requests)
    return started


async def test_the_request_of_another_submitter_does_not_wait_for_all_requests_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Submitters take turns."""
    started = await _order(monkeypatch, [("/", "one")] * 100 + [("/", "another")])

    assert started.index(("/", "another")) < 2 * request_turns.MAX_STARTS


async def test_a_health_check_does_not_wait_for_other_requests_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, clients without a key could make an orchestrator restart the server."""
    started = await _order(monkeypatch, [("/", "")] * 100 + [("/healthz", "")])

    assert started.index(("/healthz", "")) < 2 * request_turns.MAX_STARTS


async def test_a_refused_request_gets_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The submitter with the most waiting requests loses one of them. The handler does not see this request.

    A page of another origin can read the reason.
    """
    monkeypatch.setattr(request_turns, "MAX_START_SECONDS", 0)
    budgets = Budgets(Limits())
    started = []

    async def handle(request: Request) -> Response:
        started.append(request.headers["x-api-key"])
        return Response()

    async with _client(budgets, handle) as client:

        async def get(key: str) -> httpx.Response:
            return await client.get("/", headers={"x-api-key": key, "origin": _ORIGIN})

        requests = [asyncio.create_task(get(key)) for key in ["one"] * 200 + ["another"] * 100]
        error = Unavailable("the reason", retry_after=1)
        while not any(request.done() for request in requests):
            budgets.request_turns.refuse(error)
            await asyncio.sleep(0)
        responses = await asyncio.gather(*requests)

    refused = [response for response in responses if response.status_code == 503]
    assert refused
    assert {response.request.headers["x-api-key"] for response in refused} == {"one"}
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].headers["access-control-allow-origin"] == _ORIGIN
    assert refused[0].json()["error"]["message"] == "the reason"
    assert len(started) == len(responses) - len(refused)


async def test_a_request_whose_client_disconnects_while_it_waits_is_not_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that sends requests and closes its connections at once would otherwise delay all others."""
    monkeypatch.setattr(request_turns, "MAX_START_SECONDS", 0)
    handled = []

    async def handle(request: Request) -> Response:
        handled.append(request.url.path)
        return Response()

    application = _application(Budgets(Limits()), handle)
    sent = AsyncMock()

    async def request(path: str, *, is_disconnected: bool) -> None:
        transport = SimpleNamespace(is_closing=lambda: is_disconnected)
        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "scheme": "http"}
        await application({**scope, "state": {TRANSPORT: transport}}, AsyncMock(), sent)

    await asyncio.gather(request("/", is_disconnected=True), request("/healthz", is_disconnected=False))

    assert handled == ["/healthz"]
    assert [call.args[0]["type"] for call in sent.await_args_list] == ["http.response.start", "http.response.body"]
