"""The private core of grpcio, as far as `grpc_server` uses it.

Private interface: `grpc._cython.cygrpc`, which grpcio does not document. The lock file pins grpcio to a tested version.
If an update removes a name or an attribute that is used, the import of this module fails. `firestore_server` then uses
`grpc_aio_server`, which needs only the public interface.
"""

from grpc._cython.cygrpc import (
    BatchOperationEvent,
    Call,
    CompletionQueue,
    ReceiveCloseOnServerOperation,
    ReceiveMessageOperation,
    RequestCallEvent,
    SendInitialMetadataOperation,
    SendMessageOperation,
    SendStatusFromServerOperation,
    Server,
    WriteFlag,
)

NO_METADATA = ()
NO_FLAGS = 0
BUFFER_HINT = WriteFlag.buffer_hint

ATTRIBUTES = (
    BatchOperationEvent.batch_operations,
    BatchOperationEvent.tag,
    Call.start_server_batch,
    CompletionQueue.poll,
    ReceiveCloseOnServerOperation.cancelled,
    ReceiveMessageOperation.message,
    RequestCallEvent.call,
    RequestCallEvent.call_details,
    RequestCallEvent.invocation_metadata,
    RequestCallEvent.success,
    RequestCallEvent.tag,
    Server.add_http2_port,
    Server.cancel_all_calls,
    Server.destroy,
    Server.register_completion_queue,
    Server.request_call,
    Server.shutdown,
    Server.start,
)
"""The attributes that are used. A missing attribute raises AttributeError here, and not in the middle of a call."""

__all__ = [
    "BUFFER_HINT",
    "NO_FLAGS",
    "NO_METADATA",
    "CompletionQueue",
    "ReceiveCloseOnServerOperation",
    "ReceiveMessageOperation",
    "SendInitialMetadataOperation",
    "SendMessageOperation",
    "SendStatusFromServerOperation",
    "Server",
]
