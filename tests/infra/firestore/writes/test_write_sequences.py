"""Several writes to one document in one commit: which may follow which."""

from typing import Any

import pytest

from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.messages import Write, timestamp
from infra.embedded.firestore.writes import document_write

DATABASE = "projects/p/databases/(default)"


def write(text: str) -> Any:
    """Return a write: `delete` or not, and what it expects: that the document exists, or not, or a version."""
    kind, _, expected = text.partition(" ")
    name = f"{DATABASE}/documents/a/x"
    made = Write(delete=name) if kind == "delete" else Write(update={"name": name})
    if expected == "there" or kind in ("update", "insert"):
        made.current_document.exists = kind != "insert"
    elif expected == "missing":
        made.current_document.exists = False
    elif expected:
        made.current_document.update_time.CopyFrom(timestamp(int(expected)))
    return made


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("insert", "update"),
        ("insert", "delete"),
        ("update", "upsert"),
        ("upsert", "delete there"),
        ("delete", "insert"),
        ("delete", "delete missing"),
        ("upsert 1", "upsert 1"),
        ("upsert 1", "delete 1"),
        ("delete 1", "delete 1"),
        ("upsert 1", "upsert"),
    ],
)
def test_what_may_follow(first: str, second: str) -> None:
    """Each is as the one before may have left the document, or does not care."""
    prepared = document_write.prepare_all([write(first), write(second)], DATABASE)

    assert len(prepared) == 2


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("insert", "insert", "Cannot insert then insert"),
        ("update", "insert", "Cannot update then insert"),
        ("upsert", "insert", "Cannot upsert then insert"),
        ("upsert 1", "insert", "Cannot update then insert"),
        ("insert", "delete missing", "Cannot insert then delete"),
        ("delete", "update", "Cannot delete then update"),
        ("delete", "delete there", "Cannot delete then delete"),
        ("delete 1", "upsert 1", "Cannot delete then update"),
        ("upsert", "upsert 1", "different version preconditions"),
        ("upsert 1", "upsert 2", "different version preconditions"),
        ("upsert", "delete 1", "different version preconditions"),
    ],
)
def test_what_may_not_follow(first: str, second: str, words: str) -> None:
    """What can never hold is refused as a fault of the request, whatever is stored."""
    with pytest.raises(StatusError, match=words):
        document_write.prepare_all([write(first), write(second)], DATABASE)
