"""The message classes of google.firestore.v1, as Google's client library defines them.

Importing `google.cloud.firestore_v1` imports the whole client, which takes half a second of processor time in every
process. The messages are in its subpackage `types`. This module therefore replaces the parent with an empty package
while it imports `types`, and removes the empty package afterwards. A later import of the client gets the real package
with the same message classes.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

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


_types = _import_types()

BatchGetDocumentsRequest: Any = _types.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse: Any = _types.BatchGetDocumentsResponse.pb()
BatchWriteRequest: Any = _types.BatchWriteRequest.pb()
BatchWriteResponse: Any = _types.BatchWriteResponse.pb()
CommitRequest: Any = _types.CommitRequest.pb()
CommitResponse: Any = _types.CommitResponse.pb()
Document: Any = _types.Document.pb()
ListDocumentsRequest: Any = _types.ListDocumentsRequest.pb()
ListDocumentsResponse: Any = _types.ListDocumentsResponse.pb()
ListenRequest: Any = _types.ListenRequest.pb()
ListenResponse: Any = _types.ListenResponse.pb()
RunAggregationQueryRequest: Any = _types.RunAggregationQueryRequest.pb()
RunAggregationQueryResponse: Any = _types.RunAggregationQueryResponse.pb()
RunQueryRequest: Any = _types.RunQueryRequest.pb()
RunQueryResponse: Any = _types.RunQueryResponse.pb()
StructuredQuery: Any = _types.StructuredQuery.pb()
TargetChange: Any = _types.TargetChange.pb()
Value: Any = _types.Value.pb()
Write: Any = _types.Write.pb()
