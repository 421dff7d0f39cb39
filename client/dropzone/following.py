"""Results are followed over broken connections, each once and in order.

The cursor of the last one tells where to go on. The trap is the time before the first: without a cursor a new
connection would begin at its own "now" and miss what came in between. So a cursor is looked up first, that of the
newest result there is; where there is none yet it is waited for, and whatever is stored by then is new.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from dropzone import operations
from dropzone.connection import Connection, Pauses
from dropzone.errors import TRANSIENT, DropzoneError, Unreachable
from dropzone.filters import OrderField, ResultFilter, ResultOrder
from dropzone.model import Result, ResultEdge

_LOOK_SECONDS = 0.25

logger = logging.getLogger("dropzone")


class Following:
    """One reader's way through the results: `edges` yields them for ever."""

    def __init__(self, connection: Connection, where: ResultFilter | None, after: str | None) -> None:
        self._connection = connection
        self._filter = where and where.variables()
        self._cursor = after
        self._last: tuple[Any, set[str]] = (None, set())
        self._read: set[str] = set()

    async def edges(self) -> AsyncGenerator[ResultEdge, None]:
        """Yield each result that is stored from now on, or behind the cursor."""
        if self._cursor is None:
            self._cursor = await self._connection.retrying(lambda: newest_cursor(self._connection))
        else:
            await self._connection.retrying(lambda: self._connection.query(operations.PING))
        pauses = Pauses()
        while True:
            try:
                async with aclosing(self._edges_until_broken()) as edges:
                    async for edge in edges:
                        pauses = Pauses()
                        yield edge
                fault: DropzoneError = Unreachable("the server ended the stream")
            except TRANSIENT as error:
                fault = error
            logger.warning("%s; going on where it stopped", fault)
            await asyncio.sleep(pauses.after(fault))

    async def _edges_until_broken(self) -> AsyncGenerator[ResultEdge, None]:
        # A socket is refused without a reason that gql passes on; a query says whether the key is still good.
        await self._connection.query(operations.PING)
        while self._cursor is None:
            newest = await newest_cursor(self._connection)
            if newest is None:
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            async with aclosing(self._stored()) as stored:
                async for edge in stored:
                    yield edge
            self._cursor = self._cursor or newest  # nothing up to there passes the filter
        variables = {"filter": self._filter, "after": self._cursor}
        async with aclosing(self._connection.subscribe(operations.WATCH, variables)) as answers:
            async for answer in answers:
                edge = _edge(answer["edge"])
                if self._is_new(edge):
                    self._cursor = edge.cursor
                    yield edge

    async def _stored(self) -> AsyncGenerator[ResultEdge, None]:
        order = ResultOrder(OrderField.COMPUTED_AT)
        variables = {"filter": self._filter, "orderBy": order.variables(), "first": 500, "after": None}
        last: ResultEdge | None = None
        while True:
            page = (await self._connection.query(operations.RESULTS, variables))["page"]
            for given in page["edges"]:
                last = edge = _edge(given)
                self._is_new(edge)
                if edge.result.id not in self._read:  # before a page could not be had, and all are read again
                    self._read.add(edge.result.id)
                    yield edge
            if not page["pageInfo"]["hasNextPage"]:
                break
            variables["after"] = page["pageInfo"]["endCursor"]
        self._cursor = None if last is None else last.cursor
        self._read.clear()

    def _is_new(self, edge: ResultEdge) -> bool:
        """Take note of a result; tell whether it was not there yet.

        A page orders results of the same instant by other fields than a subscription does, so behind the cursor of
        one of them others may come again.
        """
        instant, ids = self._last
        if edge.result.computed_at != instant:
            instant, ids = self._last = (edge.result.computed_at, set())
        if edge.result.id in ids:
            return False
        ids.add(edge.result.id)
        return True


async def newest_cursor(connection: Connection) -> str | None:
    """Return the cursor of the result that was stored last, asking once; None where there is none yet.

    Of results of the same instant it is the one that a subscription has last; a page may have it anywhere among them.
    """
    edges = (await connection.query(operations.NEWEST))["page"]["edges"]
    last = [edge for edge in edges if edge["node"]["computedAt"] == edges[0]["node"]["computedAt"]]
    return max(last, key=lambda edge: str(edge["node"]["id"]))["cursor"] if last else None


def _edge(given: dict[str, Any]) -> ResultEdge:
    return ResultEdge(given["cursor"], Result.parse(given["node"]))
