"""The message classes of google.firestore.v1, as Google's client library defines them.

The library defines these classes when it is imported, so type checkers do not know them. They see the declarations in
this module instead.
"""

from typing import TYPE_CHECKING, Any

from runtime.subpackages import import_without_parent

if TYPE_CHECKING:

    class _MessageClass(type):
        def __getattr__(cls, name: str) -> Any: ...

    class Message(metaclass=_MessageClass):
        """A message, whose fields have no types. It keeps one message from being passed in place of another."""

        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    class BatchGetDocumentsRequest(Message): ...

    class BatchGetDocumentsResponse(Message): ...

    class BatchWriteRequest(Message): ...

    class BatchWriteResponse(Message): ...

    class CommitRequest(Message): ...

    class CommitResponse(Message): ...

    class Document(Message): ...

    class DocumentChange(Message): ...

    class ListDocumentsRequest(Message): ...

    class ListDocumentsResponse(Message): ...

    class ListenRequest(Message): ...

    class ListenResponse(Message): ...

    class RunAggregationQueryRequest(Message): ...

    class RunAggregationQueryResponse(Message): ...

    class RunQueryRequest(Message): ...

    class RunQueryResponse(Message): ...

    class StructuredQuery(Message): ...

    class TargetChange(Message): ...

    class Value(Message): ...

    class Write(Message): ...

    class WriteResult(Message): ...

else:
    from google.protobuf.message import Message as Message

    _types = import_without_parent("google.cloud.firestore_v1", "types")

    BatchGetDocumentsRequest = _types.BatchGetDocumentsRequest.pb()
    BatchGetDocumentsResponse = _types.BatchGetDocumentsResponse.pb()
    BatchWriteRequest = _types.BatchWriteRequest.pb()
    BatchWriteResponse = _types.BatchWriteResponse.pb()
    CommitRequest = _types.CommitRequest.pb()
    CommitResponse = _types.CommitResponse.pb()
    Document = _types.Document.pb()
    DocumentChange = _types.DocumentChange.pb()
    ListDocumentsRequest = _types.ListDocumentsRequest.pb()
    ListDocumentsResponse = _types.ListDocumentsResponse.pb()
    ListenRequest = _types.ListenRequest.pb()
    ListenResponse = _types.ListenResponse.pb()
    RunAggregationQueryRequest = _types.RunAggregationQueryRequest.pb()
    RunAggregationQueryResponse = _types.RunAggregationQueryResponse.pb()
    RunQueryRequest = _types.RunQueryRequest.pb()
    RunQueryResponse = _types.RunQueryResponse.pb()
    StructuredQuery = _types.StructuredQuery.pb()
    TargetChange = _types.TargetChange.pb()
    Value = _types.Value.pb()
    Write = _types.Write.pb()
    WriteResult = _types.WriteResult.pb()
