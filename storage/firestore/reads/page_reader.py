"""Reads pages of documents in threads. Each thread waits for the messages of its own call.

RunQuery sends a message per document. `grpc.aio` uses 45 µs of processor time for each message, and a thread of this
module uses 15 µs. A page is returned as a whole, so the event loop does no work per message.

Note: `SingleThreadedUnaryStream` is an experimental option of grpcio. A version without this option ignores it, and
then needs 55 µs per message.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from storage.firestore.messages import RunQueryRequest

MAX_THREADS = 4
OPTIONS = (
    ("SingleThreadedUnaryStream", 1),
    # Firestore can send a whole page while this process still converts the previous page.
    ("grpc.http2.lookahead_bytes", 4 * 1024 * 1024),
)


class PageReader:
    """Runs queries on its own channel. `connect` opens the channel for the first query."""

    def __init__(self, connect: Callable[[], grpc.Channel]) -> None:
        self._connect = connect
        self._channel: grpc.Channel | None = None
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="firestore-pages")
        self._run_query: Any = None

    async def close(self) -> None:
        """Cancel all calls and close the channel."""
        if self._channel is not None:
            self._channel.close()
        await asyncio.to_thread(self._threads.shutdown)

    async def run_query(self, page: Any, request: RunQueryRequest, **options: Any) -> AsyncIterator[Sequence[Any]]:
        """Yield the documents that match a query, all in one list.

        `page` is the class `Page` or `EncodedPage`. `options` are options of a call of grpcio.
        """
        if self._run_query is None:
            self._channel = self._connect()
            self._run_query = self._channel.unary_stream(
                "/google.firestore.v1.Firestore/RunQuery",
                request_serializer=RunQueryRequest.SerializeToString,
            )
        call = self._run_query(request, **options)
        try:
            yield await asyncio.get_running_loop().run_in_executor(self._threads, _read, page(), call)
        finally:
            call.cancel()  # without effect on a call that has ended


def _read(page: Any, call: Iterable[bytes]) -> Sequence[Any]:
    for response in call:
        page.MergeFromString(response)
    documents: Sequence[Any] = page.documents
    return documents
