"""The message classes of google.firestore.v1, as the installed client library defines them."""

import importlib
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from runtime.subpackages import import_without_parent

_types = import_without_parent("google.cloud.firestore_v1", "types")


def _message(name: str) -> Any:
    return getattr(_types, name).pb()


# Import these modules by name, because they have no type information.
Empty: Any = importlib.import_module("google.protobuf.empty_pb2").Empty
Status: Any = importlib.import_module("google.rpc.status_pb2").Status

if TYPE_CHECKING:  # the library defines its classes when it is imported, so type checkers do not know them

    class _MessageClass(type):
        def __getattr__(cls, name: str) -> Any: ...

    class _Message(metaclass=_MessageClass):
        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    class Document(_Message): ...

    class FieldTransform(_Message): ...

    class Timestamp(_Message): ...

    class Value(_Message): ...

    class Write(_Message): ...

    class WriteResult(_Message): ...

else:
    Document = _message("Document")
    FieldTransform = _message("DocumentTransform").FieldTransform
    Timestamp = importlib.import_module("google.protobuf.timestamp_pb2").Timestamp
    Value = _message("Value")
    Write = _message("Write")
    WriteResult = _message("WriteResult")

Fields = MutableMapping[str, Value]
"""The fields of a document or of a map. Reading a field that does not exist creates it."""

ArrayValue: Any = _message("ArrayValue")
BatchGetDocumentsRequest: Any = _message("BatchGetDocumentsRequest")
BatchGetDocumentsResponse: Any = _message("BatchGetDocumentsResponse")
BatchWriteRequest: Any = _message("BatchWriteRequest")
BatchWriteResponse: Any = _message("BatchWriteResponse")
BeginTransactionRequest: Any = _message("BeginTransactionRequest")
BeginTransactionResponse: Any = _message("BeginTransactionResponse")
CommitRequest: Any = _message("CommitRequest")
CommitResponse: Any = _message("CommitResponse")
CreateDocumentRequest: Any = _message("CreateDocumentRequest")
Cursor: Any = _message("Cursor")
DeleteDocumentRequest: Any = _message("DeleteDocumentRequest")
ExecutePipelineRequest: Any = _message("ExecutePipelineRequest")
ExecutePipelineResponse: Any = _message("ExecutePipelineResponse")
GetDocumentRequest: Any = _message("GetDocumentRequest")
ListCollectionIdsRequest: Any = _message("ListCollectionIdsRequest")
ListCollectionIdsResponse: Any = _message("ListCollectionIdsResponse")
ListDocumentsRequest: Any = _message("ListDocumentsRequest")
ListDocumentsResponse: Any = _message("ListDocumentsResponse")
ListenRequest: Any = _message("ListenRequest")
ListenResponse: Any = _message("ListenResponse")
MapValue: Any = _message("MapValue")
PartitionQueryRequest: Any = _message("PartitionQueryRequest")
PartitionQueryResponse: Any = _message("PartitionQueryResponse")
RollbackRequest: Any = _message("RollbackRequest")
RunAggregationQueryRequest: Any = _message("RunAggregationQueryRequest")
RunAggregationQueryResponse: Any = _message("RunAggregationQueryResponse")
RunQueryRequest: Any = _message("RunQueryRequest")
RunQueryResponse: Any = _message("RunQueryResponse")
StructuredQuery: Any = _message("StructuredQuery")
TargetChange: Any = _message("TargetChange")
UpdateDocumentRequest: Any = _message("UpdateDocumentRequest")
WriteRequest: Any = _message("WriteRequest")
WriteResponse: Any = _message("WriteResponse")


def _with_encoded_parts(*responses: Any) -> list[Any]:
    """Return a class like `Document` with encoded values, and a class like each of `responses` with encoded documents.

    A message and its bytes have the same encoding. Documents are therefore sent as they are stored: building the
    response with a result takes 1 µs instead of 5. Values are not parsed if a query selects some fields.
    """
    file = FileDescriptorProto(name="dropzone/responses.proto", package="dropzone", syntax="proto3")
    file.dependency.append(Timestamp.DESCRIPTOR.file.name)
    for each in (Document, *responses):
        each.DESCRIPTOR.CopyToProto(file.message_type.add())
    document, *others = file.message_type
    (entry,) = document.nested_type
    document.field[1].type_name = ".dropzone.Document.FieldsEntry"
    encoded = [entry.field[1], *(field for each in others for field in each.field if field.name in _DOCUMENTS)]
    for field in encoded:
        field.type = FieldDescriptorProto.TYPE_BYTES
        field.ClearField("type_name")
    for message in others:
        for field in [*message.field]:
            if field.name == "explain_metrics":
                message.field.remove(field)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    names = [f"dropzone.{each.name}" for each in file.message_type]
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]


_DOCUMENTS = ("document", "found")
"""The fields of responses that contain a document."""

EncodedDocument: Any
QueryResponse: Any
BatchGetResponse: Any
EncodedDocument, QueryResponse, BatchGetResponse = _with_encoded_parts(RunQueryResponse, BatchGetDocumentsResponse)


def timestamp(microseconds: int) -> Timestamp:
    """Return the Timestamp message for a time in microseconds since the epoch."""
    seconds, remainder = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=remainder * 1000)


def microseconds(timestamp: Timestamp) -> int:
    """Return the microseconds since the epoch of a Timestamp message, rounded down."""
    return int(timestamp.seconds) * 1_000_000 + int(timestamp.nanos) // 1000
