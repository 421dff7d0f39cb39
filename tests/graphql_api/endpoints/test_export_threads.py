"""Where the steps of an export run: on the event loop, or in a thread if they are long."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.endpoints import results
from graphql_api.endpoints.results import Services, results_endpoint
from graphql_api.scopes import Scope
from observability import request_context
from observability.request_context import RequestContext
from tests.graphql_api.graphql_server.service import UNLIMITED_MIB

pytestmark = pytest.mark.anyio

RESULT = SimpleNamespace(name="projects/p/databases/d/documents/submitters/s/results/a", fields=defaultdict(bytes))


class Recorder:
    """A format that records whether its steps run on the event loop."""

    def __init__(self) -> None:
        self.on_loop: list[bool] = []

    def write(self, batch: object) -> bytes:
        """Record the thread."""
        self.on_loop.append(threading.current_thread() is threading.main_thread())
        return b""

    def finish(self) -> bytes:
        """Record the thread."""
        return self.write(None)


async def authenticate(credential: object) -> Caller:
    """Return a caller."""
    return Caller("local", frozenset({Scope.READ}), "key 12345678", None)


async def scan_encoded(*arguments: object) -> AsyncIterator[list[Any]]:
    """Yield one page of results."""
    yield [RESULT]


async def export(app: Starlette, name: str) -> None:
    """Request an export."""
    request_context.enter(RequestContext(b"", b""))

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        assert message.get("status", 200) == 200

    query = f"format={name}".encode()
    scope = {"type": "http", "method": "GET", "path": "/results", "query_string": query, "headers": [], "state": {}}
    await app(scope, receive, send)


@pytest.mark.parametrize(("name", "on_loop"), [("parquet", False), ("csv", True)])
async def test_the_row_groups_of_parquet_are_written_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, name: str, on_loop: bool
) -> None:
    """A row group has thousands of results and takes 70 ms. For other formats, a thread would only cost time."""
    recorder = Recorder()
    changed = replace(results._EXPORTS[name], open=lambda: recorder, is_available=True)
    monkeypatch.setitem(results._EXPORTS, name, changed)
    services: Any = SimpleNamespace(
        authenticator=SimpleNamespace(authenticate=authenticate),
        budgets=Budgets(Limits(max_memory_mib=UNLIMITED_MIB)),
        store=SimpleNamespace(result_listing=SimpleNamespace(scan_encoded=scan_encoded)),
    )
    endpoint = results_endpoint(cast(Services, services))

    await export(Starlette(routes=[endpoint.route]), name)

    assert recorder.on_loop == [on_loop, on_loop]
