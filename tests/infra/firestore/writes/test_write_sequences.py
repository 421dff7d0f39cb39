"""Several writes to one document in one commit: the orders that are valid."""

from typing import Any

import pytest

from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.messages import Write, timestamp
from infra.embedded.firestore.writes import document_write

DATABASE = "projects/p/databases/(default)"


def write(text: str) -> Any:
    """Parse a write: its kind, then optionally `existing`, `missing` or an update time as its precondition."""
    kind, _, precondition = text.partition(" ")
    name = f"{DATABASE}/documents/a/x"
    message = Write(delete=name) if kind == "delete" else Write(update={"name": name})
    if precondition == "existing" or kind in ("update", "insert"):
        message.current_document.exists = kind != "insert"
    elif precondition == "missing":
        message.current_document.exists = False
    elif precondition:
        message.current_document.update_time.CopyFrom(timestamp(int(precondition)))
    return message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("insert", "update"),
        ("insert", "delete"),
        ("update", "upsert"),
        ("upsert", "delete existing"),
        ("delete", "insert"),
        ("delete", "delete missing"),
        ("upsert 1", "upsert 1"),
        ("upsert 1", "delete 1"),
        ("delete 1", "delete 1"),
        ("upsert 1", "upsert"),
    ],
)
def test_a_valid_order_is_accepted(first: str, second: str) -> None:
    """The second write accepts the state that the first one leaves."""
    prepared = document_write.prepare_all([write(first), write(second)], DATABASE)

    assert len(prepared) == 2


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("insert", "insert", "Cannot insert then insert"),
        ("update", "insert", "Cannot update then insert"),
        ("upsert", "insert", "Cannot upsert then insert"),
        ("upsert 1", "insert", "Cannot update then insert"),
        ("insert", "delete missing", "Cannot insert then delete"),
        ("delete", "update", "Cannot delete then update"),
        ("delete", "delete existing", "Cannot delete then delete"),
        ("delete 1", "upsert 1", "Cannot delete then update"),
        ("upsert", "upsert 1", "different version preconditions"),
        ("upsert 1", "upsert 2", "different version preconditions"),
        ("upsert", "delete 1", "different version preconditions"),
    ],
)
def test_an_order_that_can_never_hold_is_refused(first: str, second: str, message: str) -> None:
    """It is an error of the request, independent of the stored document."""
    with pytest.raises(StatusError, match=message):
        document_write.prepare_all([write(first), write(second)], DATABASE)
