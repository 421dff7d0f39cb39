"""The connections of one submitter on which requests are in progress, for endpoints of plain HTTP."""

import asyncio
import json

import pytest

from graphql_api.app import create_app
from graphql_api.limits import Limits
from graphql_api.settings import Settings
from tests.graphql_api.endpoints.exchange import Exchange
from tests.graphql_api.graphql_server.service import UNLIMITED_MIB
from tests.stack import PATIENCE_SECONDS, Stack

EXPORT = Exchange("/results?format=csv")


async def test_a_request_is_in_progress_until_its_response_is_sent(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, clients of one submitter that read slowly could use all connections."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    app = create_app(Settings(limits=Limits(max_connections_per_submitter=1, max_memory_mib=UNLIMITED_MIB)))
    key, other_key = stack.new_key("connections"), stack.new_key("other connections")
    begun, is_read = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        begun.set()
        await is_read.wait()

    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(EXPORT.run(app, key, read))
        await begun.wait()
        refused = json.loads(await EXPORT._replace(status=429).run(app, key))["error"]["extensions"]
        assert (refused["code"], refused["limit"], refused["retryAfter"]) == (
            "RATE_LIMITED",
            "max_connections_per_submitter",
            1,
        )
        assert await EXPORT.run(app, other_key)
        is_read.set()
        assert await first == await EXPORT.run(app, key)
