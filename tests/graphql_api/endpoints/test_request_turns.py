"""Requests start in turns, before the API reads or authenticates them."""

import asyncio
from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_api.budgets import loop_turns
from graphql_api.budgets.budgets import Budgets
from graphql_api.endpoints.endpoint import RequestRecorder
from graphql_api.limits import Limits


async def test_the_request_of_another_submitter_does_not_wait_for_all_requests_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The submitter is the one whose key was valid a short time ago. Here, a key is the name of its submitter."""
    monkeypatch.setattr(loop_turns, "MAX_START_SECONDS", 0)
    started = []

    async def handle(request: Request) -> Response:
        started.append(request.headers["x-api-key"])
        return Response()

    services = SimpleNamespace(
        budgets=Budgets(Limits()), authenticator=SimpleNamespace(known_submitter=lambda key: key)
    )
    routes = [Route("/", handle)]
    app = Starlette(routes=routes, middleware=[Middleware(RequestRecorder, routes, services)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        requests = [client.get("/", headers={"x-api-key": key}) for key in [*["one"] * 100, "another"]]
        await asyncio.gather(*requests)

    assert len(started) == 101
    assert started.index("another") < 2 * loop_turns.MIN_STARTS
