"""Deletions of single samples that clients of one submitter request at the same time."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.endpoints.samples import SampleEndpoints, Services
from graphql_api.scopes import Scope
from observability import request_context
from observability.request_context import RequestContext

pytestmark = pytest.mark.anyio

REQUESTS = 200


class BusyDeleter:
    """A deleter whose deletions end when the test says so."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.running = 0
        self.max_running = 0

    async def delete_one(self, *arguments: object) -> None:
        """Count the deletions that run."""
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        await self.may_end.wait()
        self.running -= 1


async def authenticate(credential: object) -> Caller:
    """Return an administrator."""
    return Caller("local", frozenset({Scope.ADMIN}), "key 12345678", None)


async def delete(app: Starlette) -> int:
    """Delete a sample. Return the status of the response."""
    request_context.enter(RequestContext(b"", b""))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "DELETE", "path": "/samples/a", "query_string": b"", "headers": [], "state": {}}
    await app(scope, receive, send)
    return int(sent[0]["status"])


async def test_few_deletions_of_a_submitter_run_at_the_same_time() -> None:
    """Each is a Commit of its own, for which the writes of other submitters wait. All samples are deleted."""
    deleter = BusyDeleter()
    services: Any = SimpleNamespace(
        authenticator=SimpleNamespace(authenticate=authenticate),
        budgets=Budgets(Limits()),
        audit_log=SimpleNamespace(entry=lambda *_, **__: None),
        deleter=deleter,
    )
    endpoints = SampleEndpoints(cast(Services, services), max_request_bytes=0).endpoints
    app = Starlette(routes=[each.route for each in endpoints])
    tasks = [asyncio.create_task(delete(app)) for _ in range(REQUESTS)]
    for _ in range(REQUESTS):
        await asyncio.sleep(0)
    running = deleter.max_running
    deleter.may_end.set()

    assert await asyncio.gather(*tasks) == [204] * REQUESTS
    assert 1 <= running <= deleter.max_running <= 16
