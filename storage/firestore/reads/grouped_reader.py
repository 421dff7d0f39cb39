"""Grouped reads: reads that arrive at the same time share one BatchGetDocuments call.

The reader sends queued reads as soon as the previous call has returned. A call therefore grows with the load, and a
single read does not wait for other reads.
"""

import asyncio
from collections.abc import Collection
from contextvars import Context

from storage.firestore.client import Firestore
from storage.firestore.messages import Document

MAX_CALL_DOCUMENTS = 300


class GroupedReader:
    """Reads the same few fields of many documents. Belongs to one event loop."""

    def __init__(self, firestore: Firestore, mask: Collection[str]) -> None:
        self._firestore = firestore
        self._mask = mask
        self._queue: list[tuple[tuple[str, ...], asyncio.Future[dict[str, Document]]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def read(self, *paths: str) -> dict[str, Document]:
        """Return the existing documents among `paths`, by path. Raises the errors of `Firestore.batch_get`."""
        done: asyncio.Future[dict[str, Document]] = asyncio.get_running_loop().create_future()
        self._queue.append((paths, done))
        if self._sending is None:
            # The task serves many requests, so it has the context of none of them.
            self._sending = asyncio.create_task(self._send_queue(), context=Context())
        return await done

    async def _send_queue(self) -> None:
        """Send calls until the queue is empty."""
        try:
            while self._queue:
                await self._call()
        finally:
            self._sending = None

    async def _call(self) -> None:
        reads = self._queue[:MAX_CALL_DOCUMENTS]
        del self._queue[:MAX_CALL_DOCUMENTS]
        wanted = dict.fromkeys(path for paths, done in reads if not done.done() for path in paths)
        try:
            documents = await self._firestore.batch_get(wanted, mask=self._mask)
        except Exception as error:  # noqa: BLE001 - every read of this call gets the error
            for _, done in reads:
                if not done.done():
                    done.set_exception(error)
        else:
            for paths, done in reads:
                if not done.done():
                    done.set_result({path: documents[path] for path in paths if path in documents})
