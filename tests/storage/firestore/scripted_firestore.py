"""A gRPC server in place of Firestore whose BatchWrite returns the statuses that a test decides."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

from storage.firestore.client import Firestore
from storage.firestore.messages import BatchWriteRequest, BatchWriteResponse
from tests.storage.firestore import one_method


class ScriptedFirestore:
    """Records the writes of each call, by document path, and responds when the test permits.

    `statuses` holds the code of the next write to each path; a path without one is written.
    """

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.statuses: dict[str, deque[grpc.StatusCode]] = {}
        self._permits = asyncio.Semaphore(0)
        self._errors: deque[grpc.StatusCode] = deque()
        self._changed = asyncio.Condition()

    def respond(self, calls: int = 1) -> None:
        """Let calls return, the oldest first."""
        for _ in range(calls):
            self._permits.release()

    def fail(self, code: grpc.StatusCode) -> None:
        """Let one call fail as a whole."""
        self._errors.append(code)
        self.respond()

    def set_statuses(self, statuses: Mapping[str, list[grpc.StatusCode]]) -> None:
        """Set the codes of the next writes to each path."""
        self.statuses = {path: deque(codes) for path, codes in statuses.items()}

    async def wait_for(self, condition: Callable[[list[list[str]]], bool]) -> None:
        """Wait until the calls so far satisfy `condition`."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: condition(self.batches))

    async def batch_write(self, request: Any, context: Any) -> Any:
        """Serve one call."""
        paths = [(write.delete or write.update.name).rpartition("/")[2] for write in request.writes]
        async with self._changed:
            self.batches.append(paths)
            self._changed.notify_all()
        await self._permits.acquire()
        if self._errors:
            await context.abort(self._errors.popleft(), "on purpose")
        codes = [self.statuses[path].popleft() if self.statuses.get(path) else grpc.StatusCode.OK for path in paths]
        return BatchWriteResponse(
            status=[{"code": code.value[0], "message": "on purpose" if code.value[0] else ""} for code in codes],
            write_results=[{"update_time": {"seconds": int(path)} if path.isdigit() else {}} for path in paths],
        )


def serve(scripted: ScriptedFirestore, *, timeout_seconds: float = 30) -> AbstractAsyncContextManager[Firestore]:
    """Serve `scripted` on the loopback; yield a client of it."""
    method = grpc.unary_unary_rpc_method_handler(
        scripted.batch_write, BatchWriteRequest.FromString, BatchWriteResponse.SerializeToString
    )
    return one_method.serve("BatchWrite", method, timeout_seconds=timeout_seconds)
