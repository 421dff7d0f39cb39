"""The Write stream, on which the clients of web and mobile apps send their writes."""

from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, Requests

MIB = 1 << 20


def write(document_id: str, size: int = 1) -> Any:
    """Return a write of a document with a number of bytes."""
    made = m.Write(update=m.Document(name=f"{ROOT}/streamed/{document_id}"))
    made.update.fields["content"].bytes_value = bytes(size)
    return made


def test_each_request_after_the_first_is_one_commit(firestore: FirestoreProcess) -> None:
    """The first response has the id of the stream. Each further response has the results of one commit."""
    requests = Requests(m.WriteRequest(database=DATABASE))
    responses = firestore.converse("Write", requests, m.WriteRequest, m.WriteResponse)
    first = next(responses)
    requests.send(m.WriteRequest(stream_token=first.stream_token, writes=[write("a"), write("b")]))
    second = next(responses)
    requests.send(None)

    assert first.stream_id
    assert len(second.write_results) == 2
    assert second.stream_token > first.stream_token
    assert firestore.client().document("streamed/b").get().exists


@pytest.mark.parametrize("fields", [{"writes": [write("c")]}, {"stream_id": "earlier"}])
def test_the_first_request_only_opens_a_stream(firestore: FirestoreProcess, fields: Any) -> None:
    """It cannot have writes. A stream cannot be resumed, because its results are not stored."""
    requests = Requests(m.WriteRequest(database=DATABASE, **fields))
    responses = firestore.converse("Write", requests, m.WriteRequest, m.WriteResponse)

    with pytest.raises(grpc.RpcError) as refused:
        next(responses)
    requests.send(None)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not firestore.client().document("streamed/c").get().exists


def test_a_request_has_the_size_limit_of_a_commit(firestore: FirestoreProcess) -> None:
    """A request of more than 10 MiB stores nothing."""
    requests = Requests(m.WriteRequest(database=DATABASE))
    responses = firestore.converse("Write", requests, m.WriteRequest, m.WriteResponse)
    next(responses)
    requests.send(m.WriteRequest(writes=[write(f"large{number}", MIB - 1000) for number in range(11)]))

    with pytest.raises(grpc.RpcError) as refused:
        next(responses)
    requests.send(None)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not firestore.client().document("streamed/large0").get().exists
