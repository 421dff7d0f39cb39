"""A few exports of one submitter are sent at a time, because each holds pages of documents in memory."""

import asyncio
import json

import pytest

from graphql_api.app import create_app
from graphql_api.endpoints import results
from graphql_api.limits import Limits
from graphql_api.settings import Settings
from tests.graphql_api.endpoints.exchange import Exchange
from tests.graphql_api.graphql_server.service import UNLIMITED_MIB
from tests.stack import PATIENCE_SECONDS, Stack

EXPORT = Exchange("/results?format=csv")


async def test_an_export_waits_until_another_has_ended(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it waits too long, the refusal names the limit and says when to retry. Others do not wait for it."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    app = create_app(Settings(limits=Limits(max_exports_per_submitter=1, max_memory_mib=UNLIMITED_MIB)))
    key, other_key = stack.new_key("exports"), stack.new_key("other exports")
    begun, is_read = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        begun.set()
        await is_read.wait()

    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(EXPORT.run(app, key, read))
        await begun.wait()
        with monkeypatch.context() as patched:
            patched.setattr(results, "_MAX_WAIT_SECONDS", 0.01)
            refused = json.loads(await EXPORT._replace(status=429).run(app, key))["error"]["extensions"]
        assert (refused["code"], refused["limit"], refused["retryAfter"]) == (
            "RATE_LIMITED",
            "max_exports_per_submitter",
            1,
        )
        second = tasks.create_task(EXPORT.run(app, key))
        assert await EXPORT.run(app, other_key)
        exports = app.state.budgets.submitter("exports").exports
        assert (exports.used, exports.waiting) == (1, 1)
        is_read.set()

    assert first.result() == second.result()
    assert exports.used == 0


async def test_an_export_whose_client_has_gone_does_not_wait(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slot is free for others."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    app, key = (
        create_app(Settings(limits=Limits(max_exports_per_submitter=1, max_memory_mib=UNLIMITED_MIB))),
        stack.new_key("exports"),
    )
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(3):
            await EXPORT._replace(is_abandoned=True).run(app, key)
            assert app.state.budgets.submitter("exports").exports.used == 0
