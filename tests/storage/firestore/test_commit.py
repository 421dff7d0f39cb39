"""A Commit is sent once, and its error says whether its writes may have been applied."""

from typing import Any

import grpc
import grpc.aio
import pytest

from storage.documents import Unavailable
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.messages import CommitRequest, CommitResponse

DATABASE = "projects/p/databases/(default)"
Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code.OK, None),
        (Code.FAILED_PRECONDITION, PreconditionFailed),
        (Code.NOT_FOUND, PreconditionFailed),
        (Code.ALREADY_EXISTS, PreconditionFailed),
        (Code.ABORTED, Unavailable),
        (Code.UNAVAILABLE, Unavailable),
        (Code.PERMISSION_DENIED, FirestoreError),
    ],
)
async def test_a_commit_is_sent_once_with_all_writes(code: grpc.StatusCode, expected: type[Exception] | None) -> None:
    """The caller reads the documents again before it sends another one."""
    requests: list[Any] = []

    async def commit(request: Any, context: Any) -> Any:
        requests.append(request)
        if code is not Code.OK:
            await context.abort(code, "on purpose")
        return CommitResponse()

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(commit, CommitRequest.FromString, CommitResponse.SerializeToString)
    handler = grpc.method_handlers_generic_handler("google.firestore.v1.Firestore", {"Commit": method})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    firestore = Firestore(grpc.aio.insecure_channel(f"127.0.0.1:{port}"), DATABASE, timeout_seconds=30)
    writes = [encoding.to_delete(firestore.name(f"things/{number}")) for number in range(2)]
    try:
        if expected is None:
            await firestore.commit(writes)
        else:
            with pytest.raises(expected) as raised:
                await firestore.commit(writes)
            assert isinstance(raised.value, PreconditionFailed) == (expected is PreconditionFailed)
    finally:
        await firestore.close()
        await server.stop(None)

    assert [list(request.writes) for request in requests] == [writes]
