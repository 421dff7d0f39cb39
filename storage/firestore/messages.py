"""The message classes of google.firestore.v1, as Google's client library defines them.

Importing `google.cloud.firestore_v1` imports the whole client, which takes half a second of CPU time in every
process. The messages are in its subpackage `types`. This module therefore replaces the parent with an empty package
while it imports `types`, and removes the empty package afterwards. A later import of the client gets the real package
with the same message classes.

The library defines these classes when it is imported, so type checkers do not know them. They see the declarations in
this module instead.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

_CLIENT = "google.cloud.firestore_v1"


def _import_types() -> ModuleType:
    if _CLIENT in sys.modules:
        return importlib.import_module(f"{_CLIENT}.types")
    namespace = importlib.import_module("google.cloud")
    sys.modules[_CLIENT] = empty = ModuleType(_CLIENT)
    empty.__path__ = [f"{location}/firestore_v1" for location in namespace.__path__]
    try:
        return importlib.import_module(f"{_CLIENT}.types")
    finally:
        del sys.modules[_CLIENT]


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

    _types = _import_types()

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
