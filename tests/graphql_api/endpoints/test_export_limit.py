"""A few exports of one submitter are sent at a time, because each holds pages of documents in memory."""

import asyncio

import pytest

from graphql_api.endpoints import results
from tests.graphql_api.endpoints.exchange import EXPORT, limited_app, refused_export, unread_export
from tests.stack import PATIENCE_SECONDS, Stack


async def test_an_export_waits_until_another_has_ended(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it waits too long, the refusal names the limit and says when to retry. Others do not wait for it."""
    app = limited_app(stack, monkeypatch, max_exports_per_submitter=1)
    key, other_key = stack.new_key("exports"), stack.new_key("other exports")

    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        async with unread_export(app, key) as read:
            with monkeypatch.context() as patched:
                patched.setattr(results, "_MAX_WAIT_SECONDS", 0.01)
                assert await refused_export(app, key) == ("RATE_LIMITED", "max_exports_per_submitter", 1)
            second = tasks.create_task(EXPORT.run(app, key))
            assert await EXPORT.run(app, other_key)
            exports = app.state.budgets.submitter("exports").exports
            assert (exports.used, exports.waiting) == (1, 1)
            first = await read()

        assert await second == first

    assert exports.used == 0


async def test_an_export_whose_client_has_gone_does_not_wait(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slot is free for others."""
    app, key = limited_app(stack, monkeypatch, max_exports_per_submitter=1), stack.new_key("exports")

    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(3):
            await EXPORT._replace(is_abandoned=True).run(app, key)
            assert app.state.budgets.submitter("exports").exports.used == 0
