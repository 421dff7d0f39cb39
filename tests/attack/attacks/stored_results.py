"""Subscriptions that first read stored results from Firestore, each from another position."""

import asyncio
import contextlib
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

from graphql_api.results.pagination import Cursor
from tests.attack.registry import add
from tests.attack.target import Target, repeat

_RESULTS = "subscription ($after: String) { results(after: $after) { cursor node { id histogram { counts } } } }"
_REMOVALS = "subscription ($after: String) { removals(after: $after) { cursor } }"
_SAMPLES = 5_000
_ANY_ID = "00000000-0000-4000-8000-000000000000"


def _event_stream(target: Target, text: str, number: int) -> bytes:
    """Return a request for an event stream. Each number starts in another second before all results."""
    written_at = datetime.now(UTC) - timedelta(hours=1, seconds=number)
    return target.event_stream(text, after=Cursor(written_at=written_at, id=_ANY_ID).encode())


async def _read_in_part(target: Target) -> None:
    """Read the start of such event streams over 64 connections, and disconnect."""
    await target.fill(_SAMPLES)
    numbers = count()

    async def act() -> None:
        async with target.connection() as (reader, writer):
            writer.write(_event_stream(target, _RESULTS, next(numbers)))
            with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(3):
                    await reader.readexactly(100_000)

    await repeat(target, 64, act)


async def _unread(text: str, target: Target) -> None:
    """Open 300 such event streams, and read nothing."""
    await target.fill(_SAMPLES)
    async with AsyncExitStack() as opened:
        for number in range(300):
            _, writer = await opened.enter_async_context(target.connection())
            writer.write(_event_stream(target, text, number))
        await asyncio.sleep(target.seconds)


add("stored_results_read_in_part", _read_in_part, is_valid_work=True, is_short=True)
add("stored_results_unread", partial(_unread, _RESULTS), is_valid_work=True)
add("stored_removals_unread", partial(_unread, _REMOVALS), is_valid_work=True)
