"""A Listen target that starts at a read time instead of a resume token."""

import time
from typing import Any

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, Requests


def _responses(firestore: FirestoreProcess, read_time: int, count: int) -> list[Any]:
    """Return the first responses to a target that starts at a time in microseconds."""
    target: Any = m.ListenRequest(database=DATABASE)
    target.add_target.query.parent = ROOT
    target.add_target.query.structured_query.from_.add(collection_id="read_times")
    target.add_target.read_time.CopyFrom(m.timestamp(read_time))
    call = firestore.converse("Listen", Requests(target), m.ListenRequest, m.ListenResponse)
    responses = [next(call) for _ in range(count)]
    call.cancel()
    return responses


def _write(firestore: FirestoreProcess, document_id: str) -> int:
    """Write a document and return the commit time."""
    write = m.Write(update=m.Document(name=f"{ROOT}/read_times/{document_id}"))
    committed = firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=[write]), m.CommitResponse)
    return m.microseconds(committed.commit_time)


def test_only_later_changes_are_sent(firestore: FirestoreProcess) -> None:
    """The client has the documents of the read time."""
    read_time = _write(firestore, "a")
    _write(firestore, "b")

    _, changed, *_ = _responses(firestore, read_time, 2)

    assert changed.document_change.document.name == f"{ROOT}/read_times/b"


def test_a_read_time_in_the_future_is_refused(firestore: FirestoreProcess) -> None:
    """No client can have the documents of this time, and none would be sent."""
    _write(firestore, "a")

    (response,) = _responses(firestore, (int(time.time()) + 3600) * 1_000_000, 1)

    assert response.target_change.target_change_type == m.TargetChange.TargetChangeType.REMOVE
    assert response.target_change.cause.code == 3
