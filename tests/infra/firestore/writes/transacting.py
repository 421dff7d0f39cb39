"""What transactions do, call by call, so that a test says when."""

import threading
from collections.abc import Callable
from typing import Any

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess

OPTIMISTIC = 1


def begin(firestore: FirestoreProcess, optimistic: bool = False) -> bytes:
    """Start a transaction and return its id."""
    request = m.BeginTransactionRequest(database=DATABASE)
    request.options.read_write.concurrency_mode = OPTIMISTIC if optimistic else 0
    started: bytes = firestore.call("BeginTransaction", request, m.BeginTransactionResponse).transaction
    return started


def read(firestore: FirestoreProcess, transaction: bytes, *paths: str) -> list[bool]:
    """Read documents in a transaction; return whether they are there."""
    request = m.BatchGetDocumentsRequest(database=DATABASE, transaction=transaction)
    request.documents.extend(f"{ROOT}/{path}" for path in paths)
    answers = firestore.stream("BatchGetDocuments", request, m.BatchGetDocumentsResponse)
    return [answer.HasField("found") for answer in answers]


def ask(firestore: FirestoreProcess, transaction: bytes, collection: str, least: int, limit: int = 0) -> int:
    """Count documents with `n` of at least so much, in a transaction."""
    request = m.RunQueryRequest(parent=ROOT, transaction=transaction)
    request.structured_query.from_.add(collection_id=collection)
    condition = request.structured_query.where.field_filter
    condition.field.field_path, condition.op = "n", 4
    condition.value.integer_value = least
    if limit:
        request.structured_query.limit.value = limit
    return sum(answer.HasField("document") for answer in firestore.stream("RunQuery", request, m.RunQueryResponse))


def commit(firestore: FirestoreProcess, transaction: bytes | None, path: str, n: int) -> Any:
    """Set a document, in a transaction or not."""
    write = m.Write()
    write.update.name = f"{ROOT}/{path}"
    write.update.fields["n"].integer_value = n
    request = m.CommitRequest(database=DATABASE, writes=[write], transaction=transaction or b"")
    return firestore.call("Commit", request, m.CommitResponse)


def rollback(firestore: FirestoreProcess, transaction: bytes) -> None:
    """End a transaction."""
    firestore.call("Rollback", m.RollbackRequest(database=DATABASE, transaction=transaction), m.Empty)


def waits(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Begin a call that cannot finish yet, and return what will hold its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive(), "it did not wait"
    return thread, results
