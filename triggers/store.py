"""Firestore, as a trigger needs it: read a sample, write its result once.

Events come at least once and in any order, so a result bears the update time of the sample that it was
computed from, and is only ever replaced by one of a newer update time. A sample has no result the first
time, so the result is created without looking; only where there is one already it is read, compared and,
if it is older, replaced on condition that it has not changed since. Whoever loses a race looks again.

`FIRESTORE_EMULATOR_HOST` names a Firestore without TLS; without it the default credentials of Google Cloud
are used. The trap: a channel that lost its connection waits longer and longer before it tries again, and one
whose peer vanished without a word waits for minutes; so the longest wait is set, and a silent call is probed.
"""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import grpc
from google.cloud.firestore_v1.services.firestore.transports.grpc_asyncio import FirestoreGrpcAsyncIOTransport
from google.cloud.firestore_v1.types import firestore

from storage.documents import Header, Result, Unavailable, document_paths
from storage.firestore import encoding
from triggers.events import SampleWritten
from triggers.writer import Writer

TIMEOUT_SECONDS = 30.0

_BatchGetDocumentsRequest: Any = firestore.BatchGetDocumentsRequest.pb()
_BatchGetDocumentsResponse: Any = firestore.BatchGetDocumentsResponse.pb()
_BatchWriteRequest: Any = firestore.BatchWriteRequest.pb()
_BatchWriteResponse: Any = firestore.BatchWriteResponse.pb()
_SERVICE = "/google.firestore.v1.Firestore/"
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
_WRITTEN = 0
_OVERTAKEN = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
    )
)
_NEVER_TAKEN = frozenset(code.value[0] for code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE))


class Refused(Exception):
    """Firestore will never take this result: sending it again unchanged will not help."""


def connect() -> grpc.aio.Channel:
    """Open a channel to the Firestore that the environment names; the first call connects."""
    host = os.environ.get("FIRESTORE_EMULATOR_HOST")
    if host:
        return grpc.aio.insecure_channel(host, options=_OPTIONS)
    return FirestoreGrpcAsyncIOTransport.create_channel(options=_OPTIONS)


class Store:
    """One database. Every method raises `Unavailable` where Firestore does not answer as it should."""

    def __init__(self, channel: grpc.aio.Channel, database: str) -> None:
        self._database = database
        self._metadata = (
            ("google-cloud-resource-prefix", database),
            ("x-goog-request-params", urlencode({"database": database}, safe="/")),
        )
        self._batch_get = channel.unary_stream(
            f"{_SERVICE}BatchGetDocuments",
            request_serializer=_BatchGetDocumentsRequest.SerializeToString,
            response_deserializer=_BatchGetDocumentsResponse.FromString,
        )
        self._batch_write = channel.unary_unary(
            f"{_SERVICE}BatchWrite",
            request_serializer=_BatchWriteRequest.SerializeToString,
            response_deserializer=_BatchWriteResponse.FromString,
        )
        self._writer = Writer(self._send)

    async def header(self, written: SampleWritten) -> Any:
        """Return the sample's header as the event has it, or as it is now where the event came without it.

        It is a protocol `Document`, or None where there is none.
        """
        if written.document is not None:
            return written.document
        name = self._name(document_paths.sample(written.submitter, written.sample_id))
        return await self._document(name)

    async def chunks(self, header: Header) -> list[bytes]:
        """Return the chunks that there are of a sample, in their order; `Header.assemble` misses the others."""
        wanted = [
            self._name(document_paths.chunk(header.submitter, header.id, header.sha256, number))
            for number in range(header.chunks)
        ]
        found = {document.name: document.fields["data"].bytes_value async for document in self._documents(wanted)}
        return [found[name] for name in wanted if name in found]

    async def write_result(self, result: Result) -> bool:
        """Write `result`; return False where there is one of the same or of a newer update time.

        Raises `Refused` where Firestore finds the result itself at fault. What is for an operator to mend, such as a
        permission, is `Unavailable`: it is logged each time, and once mended the event is sent again and done.
        """
        name = self._name(document_paths.result(result.submitter, result.sample_id))
        write = encoding.to_write(name, result.fields())
        write.current_document.exists = False
        while (status := await self._writer.write(write)).code != _WRITTEN:
            if status.code in _NEVER_TAKEN:
                raise Refused(status.message)
            if status.code not in _OVERTAKEN:
                raise Unavailable(f"Firestore did not write a result: code {status.code} {status.message}")
            there = await self._document(name, mask=["sample_update_time"])
            if there is None:
                write.current_document.exists = False
                continue
            basis = encoding.from_document(there).get("sample_update_time")
            if isinstance(basis, datetime) and basis >= result.sample_update_time:
                return False
            write.current_document.update_time.CopyFrom(there.update_time)
        return True

    async def _document(self, name: str, mask: Iterable[str] = ()) -> Any:
        """Return a document, all fields or those in `mask`; None where there is none."""
        return next(iter([document async for document in self._documents([name], mask)]), None)

    async def _documents(self, wanted: Sequence[str], mask: Iterable[str] = ()) -> AsyncIterator[Any]:
        """Yield the documents that exist of those `wanted`, each as it comes, in no order."""
        request = _BatchGetDocumentsRequest(database=self._database, documents=wanted)
        if mask:
            request.mask.field_paths.extend(mask)
        try:
            call = self._batch_get(request, timeout=TIMEOUT_SECONDS, metadata=self._metadata)
            async for answer in call:
                if answer.HasField("found"):
                    yield answer.found
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from error

    async def _send(self, writes: Sequence[Any]) -> Sequence[Any]:
        request = _BatchWriteRequest(database=self._database, writes=writes)
        try:
            call = self._batch_write(request, timeout=TIMEOUT_SECONDS, metadata=self._metadata)
            answer = await call
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from error
        statuses: Sequence[Any] = answer.status
        return statuses

    def _name(self, path: str) -> str:
        return f"{self._database}/documents/{path}"


def _unavailable(error: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(f"Firestore: {error.code().name} {error.details()}")
