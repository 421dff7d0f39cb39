"""Transactions that start again, belong to another database, read a document twice, or have a cancelled call."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import grpc
import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.consistent_read import ConsistentRead
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits
from infra.embedded.firestore.writes.document_write import prepare
from infra.embedded.firestore.writes.lock_queue import LockOwner
from infra.embedded.firestore.writes.locks import BlockedByLocks, Locks
from infra.embedded.firestore.writes.transactions import Transactions
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess
from tests.infra.firestore.writes.transaction_calls import begin, commit, read, rollback, start_blocked

JOIN_SECONDS = 30


def test_a_retried_transaction_keeps_its_place_in_a_deadlock(firestore: FirestoreProcess) -> None:
    """The retry started last, but its first attempt started first. New transactions must not always abort it."""
    first, younger = begin(firestore), begin(firestore)
    rollback(firestore, first)
    request = m.BeginTransactionRequest(database=DATABASE)
    request.options.read_write.retry_transaction = first
    retried = firestore.call("BeginTransaction", request, m.BeginTransactionResponse).transaction
    for transaction in (retried, younger):
        read(firestore, transaction, "retried/a")

    thread, results = start_blocked(firestore, lambda: commit(firestore, retried, "retried/a", 1))
    with pytest.raises(grpc.RpcError) as aborted:
        commit(firestore, younger, "retried/a", 2)
    thread.join(JOIN_SECONDS)

    assert aborted.value.code() is grpc.StatusCode.ABORTED
    assert results[0].HasField("commit_time")


def test_a_transaction_of_another_database_is_refused(firestore: FirestoreProcess) -> None:
    """The transaction stays active in its own database."""
    transaction = begin(firestore)
    other = m.CommitRequest(database=f"{DATABASE}-other", transaction=transaction)

    with pytest.raises(grpc.RpcError) as refused:
        firestore.call("Commit", other, m.CommitResponse)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert commit(firestore, transaction, "own/a", 1).HasField("commit_time")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """An empty file."""
    storage = Storage(tmp_path / "firestore.sqlite")
    yield storage
    await storage.close()


async def test_a_transaction_that_read_two_versions_of_a_document_is_aborted(storage: Storage) -> None:
    """Locks usually prevent this. A commit must be correct without them."""
    transactions = Transactions(storage)
    transaction = transactions.begin(DATABASE, m.BeginTransactionRequest().options)
    reads = m.BatchGetDocumentsRequest(transaction=transaction.id)
    written = prepare(m.Write(update=m.Document(name=f"{ROOT}/twice/a")), DATABASE)

    await ConsistentRead(storage, transactions, reads, DATABASE).documents([written.name])
    await storage.write(partial(commits.commit, writes=[written], check_conflicts=commits.no_conflicts))
    await ConsistentRead(storage, transactions, reads, DATABASE).documents([written.name])

    with pytest.raises(StatusError) as refused:
        await transactions.commit([prepare(m.Write(update=m.Document(name=f"{ROOT}/twice/b")), DATABASE)], transaction)
    assert refused.value.code is grpc.StatusCode.ABORTED
    await transactions.close()


async def test_a_cancelled_read_does_not_hold_up_the_next_read() -> None:
    """It was cancelled just when the queue had let it continue."""
    locks = Locks()
    holder, writer, cancelled, following = map(LockOwner, range(1, 5))
    await locks.lock_document(holder, "a")
    waiting = asyncio.create_task(locks.wait_for_holder(writer, BlockedByLocks({holder}, {"a"})))
    reading = asyncio.create_task(locks.lock_document(cancelled, "a"))
    await asyncio.sleep(0)

    locks.release(holder)
    locks.release(writer)
    reading.cancel()
    await asyncio.gather(waiting, reading, return_exceptions=True)
    next_read = asyncio.create_task(locks.lock_document(following, "a"))
    await asyncio.sleep(0)

    assert reading.cancelled()
    assert next_read.done()
