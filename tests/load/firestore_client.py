"""A minimal Firestore client, because it shares processors with the measured server.

It sends the same protobuf messages over gRPC as official clients, without their wrappers.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
from google.cloud.firestore_v1.types import document as documents
from google.cloud.firestore_v1.types import firestore as protocol
from google.cloud.firestore_v1.types import query as queries
from google.cloud.firestore_v1.types import write as writes

from tests.load.process import Failed

Document: Any = documents.Document.pb()
Write: Any = writes.Write.pb()
StructuredQuery: Any = queries.StructuredQuery.pb()
Target: Any = protocol.Target.pb()
ListenRequest: Any = protocol.ListenRequest.pb()
_SERVICE = "/google.firestore.v1.Firestore/"
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # each channel has its own connection, as separate clients have
)


class Firestore:
    """One database over one connection."""

    def __init__(self, channel: grpc.aio.Channel, project: str) -> None:
        self._channel = channel
        self.database = f"projects/{project}/databases/(default)"
        self.documents = f"{self.database}/documents"
        # Google's emulator requires this token for BatchWrite.
        self._metadata = (("google-cloud-resource-prefix", self.database), ("authorization", "Bearer owner"))
        self._batch_write = self._method("BatchWrite", channel.unary_unary)
        self._commit = self._method("Commit", channel.unary_unary)
        self._batch_get = self._method("BatchGetDocuments", channel.unary_stream)
        self._run_query = self._method("RunQuery", channel.unary_stream)
        self._listen = self._method("Listen", channel.stream_stream)

    @classmethod
    def connect(cls, address: str, project: str) -> Self:
        """Open a channel; the first call connects."""
        return cls(grpc.aio.insecure_channel(address, options=_OPTIONS), project)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    def name(self, path: str) -> str:
        """Return the full name of a document."""
        return f"{self.documents}/{path}"

    async def batch_write(self, written: Sequence[Any]) -> None:
        """Write documents by BatchWrite. Raises `Failed` unless all are written."""
        request = protocol.BatchWriteRequest.pb()(database=self.database, writes=written)
        answer = await self._batch_write(request, metadata=self._metadata)
        refused = [status.message for status in answer.status if status.code]
        if refused or len(answer.status) != len(written):
            raise Failed(f"{len(refused)} of {len(written)} writes were refused: {refused[:1]}")

    async def commit(self, written: Sequence[Any]) -> Any:
        """Write documents in one Commit and return the commit time."""
        request = protocol.CommitRequest.pb()(database=self.database, writes=written)
        return (await self._commit(request, metadata=self._metadata)).commit_time

    async def get(self, name: str) -> Any:
        """Return a document. Raises `Failed` if it does not exist."""
        request = protocol.BatchGetDocumentsRequest.pb()(database=self.database, documents=[name])
        async for answer in self._batch_get(request, metadata=self._metadata):
            if answer.HasField("found"):
                return answer.found
        raise Failed(f"{name} does not exist")

    async def query(self, query: Any) -> list[Any]:
        """Return the documents that match a query at the root."""
        request = protocol.RunQueryRequest.pb()(parent=self.documents, structured_query=query)
        answers = self._run_query(request, metadata=self._metadata)
        return [answer.document async for answer in answers if answer.HasField("document")]

    def listen(self, targets: Sequence[Any]) -> Any:
        """Open a Listen stream for some targets. Iterate over it, and cancel it at the end."""

        async def requests() -> AsyncIterator[Any]:
            for target in targets:
                yield ListenRequest(database=self.database, add_target=target)
            await asyncio.Event().wait()  # Firestore ends a stream whose requests end

        return self._listen(requests(), metadata=self._metadata)

    def _method(self, name: str, kind: Any) -> Any:
        request, response = (getattr(protocol, f"{name}{part}").pb() for part in ("Request", "Response"))
        return kind(
            _SERVICE + name, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )
