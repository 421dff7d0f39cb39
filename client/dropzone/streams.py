"""Endless streams of results and of removals. They survive broken connections and yield each item once, in order.

A stream resumes at the cursor of the last item. Before its first item, a stream has no cursor. A subscription without a
cursor starts at the time of its connection, so a reconnect would miss the items before that time. A stream therefore
starts at the cursor of the newest stored result. If no result exists, or with an empty cursor, it starts with the first
stored item.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, TypeVar

from dropzone.errors import TRANSIENT, DropzoneError, Unreachable
from dropzone.results import RemovalEdge, Result, ResultEdge
from dropzone.statistics import ResultFilter
from dropzone.transport import operations
from dropzone.transport.connection import Connection
from dropzone.transport.retry import retrying

logger = logging.getLogger("dropzone")


Edge = TypeVar("Edge", ResultEdge, RemovalEdge)


class _Stream(ABC, Generic[Edge]):
    """The position of one subscriber. `edges` yields the items without end."""

    def __init__(self, connection: Connection, after: str | None, retry_seconds: float) -> None:
        self._connection = connection
        self._cursor = after
        self._retry_start = retrying(retry_seconds)
        self._retry_forever = retrying(None)

    async def edges(self) -> AsyncGenerator[Edge, None]:
        """Yield each item that is stored after the cursor. Without one, start after the newest result."""
        if self._cursor is None:
            self._cursor = await self._retry_start(newest_cursor, self._connection) or ""
        else:
            await self._retry_start(self._connection.query, operations.PING)
        while True:
            first, edges = await self._retry_forever(self._connect)
            async with aclosing(edges):
                yield first
                try:
                    async for edge in edges:
                        yield edge
                    _warn(Unreachable("the server ended the stream"))
                except TRANSIENT as error:
                    _warn(error)

    async def _connect(self) -> tuple[Edge, AsyncGenerator[Edge, None]]:
        """Connect and return the next item, and an async generator of the items after it."""
        edges = self._edges_of_one_connection()
        try:
            return await anext(edges), edges
        except TRANSIENT as error:
            _warn(error)
            raise
        except StopAsyncIteration:
            ended = Unreachable("the server ended the stream")
            _warn(ended)
            raise ended from None

    @abstractmethod
    def _edges_of_one_connection(self) -> AsyncGenerator[Edge, None]:
        """Yield the items after the cursor until the connection ends, and set the cursor to the cursor of each item."""

    async def _check_key(self) -> None:
        """Raise an error if the key is no longer valid. gql does not report why a WebSocket was refused."""
        await self._connection.query(operations.PING)


class ResultStream(_Stream[ResultEdge]):
    """The position of one subscriber in the results."""

    def __init__(
        self, connection: Connection, where: ResultFilter | None, after: str | None, retry_seconds: float
    ) -> None:
        super().__init__(connection, after, retry_seconds)
        self._filter = (where or ResultFilter()).variables()

    async def _edges_of_one_connection(self) -> AsyncGenerator[ResultEdge, None]:
        await self._check_key()
        variables = {"filter": self._filter, "after": self._cursor}
        async with aclosing(self._connection.subscribe(operations.WATCH, variables)) as responses:
            async for response in responses:
                edge = ResultEdge(response["edge"]["cursor"], Result.parse(response["edge"]["node"]))
                self._cursor = edge.cursor
                yield edge


class RemovalStream(_Stream[RemovalEdge]):
    """The position of one subscriber in the deleted and superseded samples."""

    async def _edges_of_one_connection(self) -> AsyncGenerator[RemovalEdge, None]:
        await self._check_key()
        subscription = self._connection.subscribe(operations.WATCH_REMOVALS, {"after": self._cursor})
        async with aclosing(subscription) as responses:
            async for response in responses:
                edge = RemovalEdge.parse(response["edge"])
                self._cursor = edge.cursor
                yield edge


async def newest_cursor(connection: Connection) -> str | None:
    """Return the cursor of the newest result, or None if no result exists.

    Several results can have the newest time. A page orders them differently from a subscription. This function returns
    the cursor of the result that a subscription delivers last.
    """
    edges = (await connection.query(operations.NEWEST))["page"]["edges"]
    newest = [edge for edge in edges if edge["node"]["computedAt"] == edges[0]["node"]["computedAt"]]
    return max(newest, key=lambda edge: str(edge["node"]["id"]))["cursor"] if newest else None


def _warn(error: DropzoneError) -> None:
    logger.warning("%s; reconnecting to resume after the last received item", error)
