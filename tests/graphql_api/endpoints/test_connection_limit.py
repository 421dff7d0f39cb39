"""The connections of one submitter on which requests are in progress, for endpoints of plain HTTP."""

import asyncio

import pytest

from tests.graphql_api.endpoints.exchange import EXPORT, limited_app, refused_export, unread_export
from tests.stack import PATIENCE_SECONDS, Stack


async def test_a_request_is_in_progress_until_its_response_is_sent(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, clients of one submitter that read slowly could use all connections."""
    app = limited_app(stack, monkeypatch, max_connections_per_submitter=1)
    key, other_key = stack.new_key("connections"), stack.new_key("other connections")

    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_SECONDS):
        async with unread_export(app, key) as read:
            assert await refused_export(app, key) == ("RATE_LIMITED", "max_connections_per_submitter", 1)
            assert await EXPORT.run(app, other_key)
            first = await read()

        assert await EXPORT.run(app, key) == first
