"""Firestore's v1 API as raw protocol messages over one gRPC channel.

`google.cloud.firestore.AsyncClient` wraps every message twice and has no Listen; at thousands of
samples a second that is most of the work. So this is the same protocol without the wrapping: requests
and answers are the protobuf messages that Google's library brings.

`FIRESTORE_EMULATOR_HOST` names a Firestore without TLS; without it, the default credentials and project of
Google Cloud are used.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import Any

import google.auth
import grpc
import grpc.aio
from google.cloud.firestore_v1.services.firestore.transports.grpc_asyncio import FirestoreGrpcAsyncIOTransport
from google.cloud.firestore_v1.types import firestore as _protocol

from storage.documents import Unavailable
from storage.firestore import encoding, metrics

BatchGetDocumentsRequest: Any = _protocol.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse: Any = _protocol.BatchGetDocumentsResponse.pb()
BatchWriteRequest: Any = _protocol.BatchWriteRequest.pb()
BatchWriteResponse: Any = _protocol.BatchWriteResponse.pb()
RunAggregationQueryRequest: Any = _protocol.RunAggregationQueryRequest.pb()
RunAggregationQueryResponse: Any = _protocol.RunAggregationQueryResponse.pb()
ListenRequest: Any = _protocol.ListenRequest.pb()
ListenResponse: Any = _protocol.ListenResponse.pb()
RunQueryRequest: Any = _protocol.RunQueryRequest.pb()
RunQueryResponse: Any = _protocol.RunQueryResponse.pb()

_SERVICE = "/google.firestore.v1.Firestore/"
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A connection can go silent without ending; only a ping that is not answered tells.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.02, 1.0
TRANSIENT = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)


class Firestore:
    """One database. Document names are given relative to it and made full by `name`.

    Every call raises `Unavailable` where Firestore cannot be reached or is overloaded, and
    `grpc.aio.AioRpcError` where the request itself is refused.
    """

    def __init__(self, channel: grpc.aio.Channel, project: str, *, timeout_seconds: float) -> None:
        self.database = f"projects/{project}/databases/(default)"
        self.root = f"{self.database}/documents"
        self._channel = channel
        self._timeout = timeout_seconds
        self._metadata = (
            ("google-cloud-resource-prefix", self.database),
            ("x-goog-request-params", f"database={self.database}"),
        )
        self._batch_write = self._unary("BatchWrite", BatchWriteRequest, BatchWriteResponse)
        self._batch_get = self._stream("BatchGetDocuments", BatchGetDocumentsRequest, BatchGetDocumentsResponse)
        self._run_query = self._stream("RunQuery", RunQueryRequest, RunQueryResponse)
        self._run_aggregation = self._stream(
            "RunAggregationQuery", RunAggregationQueryRequest, RunAggregationQueryResponse
        )
        self._listen = channel.stream_stream(
            _SERVICE + "Listen",
            request_serializer=ListenRequest.SerializeToString,
            response_deserializer=ListenResponse.FromString,
        )

    @classmethod
    def connect(cls, *, timeout_seconds: float) -> "Firestore":
        """Open a channel to the Firestore that the environment names. Connecting is left to the first call."""
        emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
        if emulator:
            channel = grpc.aio.insecure_channel(emulator, options=_CHANNEL)
            project = os.environ.get("GOOGLE_CLOUD_PROJECT", "dropzone-local")
        else:
            credentials, named = google.auth.default(scopes=FirestoreGrpcAsyncIOTransport.AUTH_SCOPES)
            if named is None:
                raise ValueError("name the Google Cloud project in GOOGLE_CLOUD_PROJECT")
            project = named
            channel = FirestoreGrpcAsyncIOTransport.create_channel(credentials=credentials, options=_CHANNEL)
        return cls(channel, project, timeout_seconds=timeout_seconds)

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close()

    def name(self, path: str) -> str:
        """Return the full name of the document at `path`."""
        return f"{self.root}/{path}"

    async def batch_write(self, writes: Iterable[Any]) -> Any:
        """Apply `writes` one by one; each has its own status in the `BatchWriteResponse`."""
        request = BatchWriteRequest(database=self.database, writes=writes)
        try:
            return await self._batch_write(request, timeout=self._timeout, metadata=self._metadata, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from error

    async def batch_get(self, paths: Iterable[str], *, mask: Iterable[str] = ()) -> dict[str, Any]:
        """Return the documents that exist among `paths`, by path; with `mask`, only these fields of them."""
        request = BatchGetDocumentsRequest(database=self.database, documents=[self.name(path) for path in paths])
        request.mask.field_paths.extend(mask)
        if not request.mask.field_paths:
            request.ClearField("mask")
        found = {}
        async for response in self._answers(self._batch_get, request):
            if response.HasField("found"):
                found[self.path(response.found.name)] = response.found
        return found

    async def run_query(self, parent: str, query: Any, read_time: datetime | None = None) -> AsyncIterator[Any]:
        """Yield each `RunQueryResponse` of `query` below the document `parent`, as of `read_time` if it is given."""
        request = RunQueryRequest(parent=self.name(parent).rstrip("/"), structured_query=query)
        if read_time is not None:
            request.read_time.FromDatetime(read_time)
        async for response in self._answers(self._run_query, request):
            yield response

    async def documents(self, parent: str, query: Any, read_time: datetime | None = None) -> list[Any]:
        """Return the protocol `Document`s that `query` finds below the document `parent`."""
        answers = self.run_query(parent, query, read_time)
        return [answer.document async for answer in answers if answer.HasField("document")]

    async def count(self, parent: str, query: Any, read_time: datetime | None = None) -> int:
        """Return how many documents `query` finds below the document `parent`, counted by Firestore."""
        request = RunAggregationQueryRequest(parent=self.name(parent).rstrip("/"))
        counted = request.structured_aggregation_query
        counted.structured_query.CopyFrom(query)
        counted.aggregations.add(alias="count").count.SetInParent()
        if read_time is not None:
            request.read_time.FromDatetime(read_time)
        async for response in self._answers(self._run_aggregation, request):
            return int(response.result.aggregate_fields["count"].integer_value)
        raise Unavailable("Firestore gave no answer to a count")

    async def ping(self, timeout_seconds: float) -> None:
        """Return if Firestore answers a read within the time."""
        request = BatchGetDocumentsRequest(database=self.database, documents=[self.name("clock/now")])
        try:
            async for _ in self._batch_get(request, timeout=timeout_seconds, metadata=self._metadata):
                pass
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from error

    async def now(self) -> datetime:
        """Return a time up to which everything that was acknowledged is in every later read."""
        request = BatchGetDocumentsRequest(database=self.database, documents=[self.name("clock/now")])
        async for response in self._answers(self._batch_get, request):
            return encoding.to_datetime(response.read_time)
        raise Unavailable("Firestore gave no answer to a read")

    def listen(self) -> Any:
        """Open a Listen stream: write `ListenRequest`s, read `ListenResponse`s."""
        return self._listen(metadata=self._metadata)

    def path(self, name: str) -> str:
        """Return the path of a full document name: the reverse of `name`."""
        return name[len(self.root) + 1 :]

    async def _answers(self, call: Any, request: Any) -> AsyncIterator[Any]:
        """Yield the answers to a read. One that fails before its first answer is begun again, within the time limit."""
        deadline = time.monotonic() + self._timeout
        for pause in backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS):
            answered = False
            left = deadline - time.monotonic()
            try:
                async for response in call(request, timeout=left, metadata=self._metadata, wait_for_ready=True):
                    answered = True
                    yield response
            except grpc.aio.AioRpcError as error:
                translated = _translated(error)
                if answered or error.code() not in TRANSIENT or left < pause:
                    raise translated from error
                await asyncio.sleep(pause)
            else:
                return

    def _unary(self, method: str, request: Any, response: Any) -> Any:
        return self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def _stream(self, method: str, request: Any, response: Any) -> Any:
        return self._channel.unary_stream(
            _SERVICE + method,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )


def backoff(first: float, longest: float) -> Iterator[float]:
    """Yield pauses in seconds that double from `first` up to `longest`, with jitter."""
    pause = first
    while True:
        yield pause * random.uniform(0.5, 1)
        pause = min(pause * 2, longest)


def _translated(error: Any) -> Any:
    """Count the error; return what stands for it."""
    metrics.firestore_errors(error.code().name).inc()
    if error.code() in TRANSIENT:
        return Unavailable("Firestore does not answer at the moment; send it again later")
    return error
