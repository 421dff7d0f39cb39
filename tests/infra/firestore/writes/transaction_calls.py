"""Single RPCs of transactions, so that a test controls their order."""

import threading
from collections.abc import Callable
from typing import Any

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess

OPTIMISTIC = 1
GREATER_THAN_OR_EQUAL = 4


def begin(firestore: FirestoreProcess, optimistic: bool = False) -> bytes:
    """Start a transaction and return its id."""
    request = m.BeginTransactionRequest(database=DATABASE)
    request.options.read_write.concurrency_mode = OPTIMISTIC if optimistic else 0
    transaction: bytes = firestore.call("BeginTransaction", request, m.BeginTransactionResponse).transaction
    return transaction


def read(firestore: FirestoreProcess, transaction: bytes, *paths: str) -> list[bool]:
    """Read documents in a transaction. Return for each whether it exists."""
    request = m.BatchGetDocumentsRequest(database=DATABASE, transaction=transaction)
    request.documents.extend(f"{ROOT}/{path}" for path in paths)
    responses = firestore.stream("BatchGetDocuments", request, m.BatchGetDocumentsResponse)
    return [response.HasField("found") for response in responses]


def query(firestore: FirestoreProcess, transaction: bytes, collection: str, minimum: int, limit: int = 0) -> int:
    """Query documents with `n >= minimum` in a transaction. Return their number."""
    request = m.RunQueryRequest(parent=ROOT, transaction=transaction)
    request.structured_query.from_.add(collection_id=collection)
    condition = request.structured_query.where.field_filter
    condition.field.field_path, condition.op = "n", GREATER_THAN_OR_EQUAL
    condition.value.integer_value = minimum
    if limit:
        request.structured_query.limit.value = limit
    responses = firestore.stream("RunQuery", request, m.RunQueryResponse)
    return sum(response.HasField("document") for response in responses)


def commit(firestore: FirestoreProcess, transaction: bytes | None, path: str, n: int) -> Any:
    """Set a document, in a transaction or alone. Return the CommitResponse."""
    write = m.Write()
    write.update.name = f"{ROOT}/{path}"
    write.update.fields["n"].integer_value = n
    request = m.CommitRequest(database=DATABASE, writes=[write], transaction=transaction or b"")
    return firestore.call("Commit", request, m.CommitResponse)


def rollback(firestore: FirestoreProcess, transaction: bytes) -> None:
    """Roll a transaction back."""
    firestore.call("Rollback", m.RollbackRequest(database=DATABASE, transaction=transaction), m.Empty)


def start_blocked(firestore: FirestoreProcess, call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start a call that cannot complete yet. Return its thread and the list that will hold its result.

    On a slow machine, the server may not have the call soon. It has the call when it has completed later commits.
    """
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join(0.3)
    for number in range(3):
        commit(firestore, None, "later/a", number)
    assert thread.is_alive(), "the call did not wait"
    return thread, results
