"""A stream of results yields each result once and in order, although requests fail and orders differ.

These tests need no server.
"""

from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from dropzone import Unavailable
from dropzone.streams import ResultStream
from dropzone.transport import operations

EARLY, LATE = "2026-11-27T00:00:00.001Z", "2026-11-27T00:00:00.002Z"


class ScriptedConnection:
    """A connection whose pages of stored results, and whose subscription, are decided by the test."""

    def __init__(
        self, pages: Sequence[Sequence[dict[str, Any]] | Unavailable], written: Sequence[dict[str, Any]]
    ) -> None:
        self._pages = deque(pages)
        self._written = written

    async def query(self, operation: str, variables: Mapping[str, Any] | None = None) -> Any:
        """Return the response to an operation."""
        del variables
        if operation == operations.PING:
            return {}
        if operation == operations.NEWEST:
            return {"page": {"edges": [edge("newest", LATE)]}}
        page = self._pages.popleft()
        if isinstance(page, Unavailable):
            raise page
        has_next = bool(self._pages)
        return {"page": {"edges": page, "pageInfo": {"hasNextPage": has_next, "endCursor": "end"}}}

    async def subscribe(self, operation: str, variables: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the results that are written after the stored results."""
        del operation, variables
        for each in self._written:
            yield {"edge": each}


def edge(sample_id: str, computed_at: str) -> dict[str, Any]:
    """Return the edge of a result."""
    times = {"timestamp": computed_at, "computedAt": computed_at, "firstComputedAt": computed_at}
    return {"cursor": f"cursor of {sample_id}", "node": {"id": sample_id, "labels": [], **times}}


async def received(connection: Any, count: int) -> list[str]:
    """Return the ids of the first results of a stream that starts with the first stored result."""
    stream = ResultStream(connection, None, "", 60.0)
    ids: list[str] = []
    async with aclosing(stream.edges()) as edges:
        async for each in edges:
            ids.append(each.result.id)
            if len(ids) == count:
                break
    return ids


async def test_a_stored_result_is_yielded_once_although_a_later_page_fails() -> None:
    """After the failure, the stream reads the stored results from the start again."""
    first, second = [edge("a", EARLY), edge("b", EARLY)], [edge("c", LATE)]
    connection = ScriptedConnection([first, Unavailable("busy"), first, second], [edge("d", LATE)])

    assert await received(connection, 4) == ["a", "b", "c", "d"]


async def test_a_result_with_the_time_of_the_last_stored_result_is_not_repeated() -> None:
    """Pages and subscriptions order results with the same time differently."""
    connection = ScriptedConnection([[edge("b", LATE), edge("a", LATE)]], [edge("b", LATE), edge("c", LATE)])

    assert await received(connection, 3) == ["b", "a", "c"]


async def test_a_stored_result_that_is_recomputed_during_the_read_is_yielded_again() -> None:
    """The recomputation moves it to a later page."""
    pages = [[edge("a", EARLY)], [edge("b", EARLY), edge("a", LATE)]]
    connection = ScriptedConnection(pages, [edge("c", LATE)])

    assert await received(connection, 3) == ["a", "b", "a"]
