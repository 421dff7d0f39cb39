"""A Firestore database: its channel, the names of its documents, writes, and the Listen stream.

`google.cloud.firestore.AsyncClient` has no Listen call. It also wraps every message twice, which would use most of the
CPU time of a submission. This module uses the protobuf messages of the same library directly. `client.py` adds
reads.
"""

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import grpc.aio

from observability import tracing
from storage.firestore import spans
from storage.firestore.errors import FirestoreUnavailable, call_error, commit_error, write_error
from storage.firestore.messages import (
    BatchWriteRequest,
    BatchWriteResponse,
    CommitRequest,
    CommitResponse,
    ListenRequest,
    ListenResponse,
    Message,
    Write,
    WriteResult,
)
from storage.firestore.retry import backoff
from storage.firestore.spans import Spans

MessageT = TypeVar("MessageT", bound=Message)

_SERVICE = "/google.firestore.v1.Firestore/"
PING_PATH = "clock/now"
"""No document has this path, so a read of it returns only the read time."""


class Database:
    """One database. Paths are relative to the database. `name` turns a path into a full document name."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        database: str,
        *,
        timeout_seconds: float,
        metadata: Iterable[tuple[str, str]] = (),
        server: str = "",
    ) -> None:
        self.database = database
        """The full name: `projects/{project}/databases/{database}`."""
        self._root = f"{database}/documents"
        self._channel = channel
        self._server = server
        self._timeout_seconds = timeout_seconds
        self._spans = Spans(database, server)
        self._metadata = (
            *metadata,
            ("google-cloud-resource-prefix", database),
            ("x-goog-request-params", urlencode({"database": database}, safe="/")),
        )
        self._batch_write = self._unary("BatchWrite", BatchWriteRequest, BatchWriteResponse)
        self._commit = self._unary("Commit", CommitRequest, CommitResponse)
        self._listen = channel.stream_stream(
            f"{_SERVICE}Listen",
            request_serializer=ListenRequest.SerializeToString,
            response_deserializer=ListenResponse.FromString,
        )

    def name(self, path: str) -> str:
        """Return the full name of the document at `path`, or of the root of the database if `path` is empty."""
        return f"{self._root}/{path}" if path else self._root

    def path(self, name: str) -> str:
        """Return the path of a full document name."""
        return name[len(self._root) + 1 :]

    async def batch_write(self, writes: Iterable[Write], commits_of_writes: Sequence[Any] = ()) -> BatchWriteResponse:
        """Apply each write independently. Return a `BatchWriteResponse` with one result and one status per write.

        The span of this call is linked to the spans in `commits_of_writes`.
        """
        request = BatchWriteRequest(database=self.database)
        for write in writes:
            request.writes.add().CopyFrom(write)  # the argument `writes` would encode and decode each write
        span = self._spans.start_batch_write(request, commits_of_writes) if tracing.is_on else None
        try:
            return await self._batch_write(
                request, timeout=self._timeout_seconds, metadata=self._metadata, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            raise spans.failed(span, call_error(error)) from error
        finally:
            if span is not None:
                spans.end(span)

    async def commit(self, writes: Iterable[Write]) -> Sequence[WriteResult]:
        """Apply all writes together, or none of them. At most 10 MiB. Return the `WriteResult` of each write.

        Retry transient errors within the timeout. If the response to a successful attempt is lost, the writes are
        applied again, or their preconditions no longer hold.

        Raises `PreconditionFailed` if a precondition fails. After `Unavailable`, the writes may have been applied.
        """
        request = CommitRequest(database=self.database, writes=writes)
        deadline, pauses = time.monotonic() + self._timeout_seconds, backoff()
        while True:
            remaining, pause = deadline - time.monotonic(), next(pauses)
            try:
                response = await self._commit(request, timeout=remaining, metadata=self._metadata, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                failure = commit_error(error)
                if not isinstance(failure, FirestoreUnavailable) or remaining < pause:
                    raise failure from error
                await asyncio.sleep(pause)
            else:
                return tuple(response.write_results)

    async def check_writes(self, timeout_seconds: float) -> None:
        """Commit the deletion of a document that does not exist, without retries.

        Raises `Unavailable` or `FirestoreError` if Firestore does not accept writes now.
        """
        request = BatchWriteRequest(database=self.database)
        request.writes.add(delete=self.name(PING_PATH))
        try:
            response = await self._batch_write(request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise call_error(error) from error
        if response.status[0].code:
            raise write_error(response.status[0])

    def listen(self) -> Any:
        """Open a Listen stream: write `ListenRequest`s to it, read `ListenResponse`s from it."""
        return self._listen(metadata=self._metadata)

    def _unary(
        self, method: str, request: type[Message], response: type[MessageT]
    ) -> Callable[..., Awaitable[MessageT]]:
        call: Callable[..., Awaitable[MessageT]] = self._channel.unary_unary(
            f"{_SERVICE}{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return call

    def _stream(
        self, method: str, request: type[Message], response: type[MessageT]
    ) -> Callable[..., AsyncIterable[MessageT]]:
        call: Callable[..., AsyncIterable[MessageT]] = self._channel.unary_stream(
            f"{_SERVICE}{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return call
