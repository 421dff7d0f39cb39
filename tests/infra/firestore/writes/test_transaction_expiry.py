"""Long transactions: they expire, on a clock that the tests set, and do not delay other writes."""

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.consistent_read import ConsistentRead
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.queries import structured_query
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits
from infra.embedded.firestore.writes.document_write import PreparedWrite, prepare
from infra.embedded.firestore.writes.transactions import Transactions
from tests.infra.firestore.server_process import DATABASE, ROOT


class TimedTransactions:
    """Transactions on a file, and their clock in seconds."""

    def __init__(self, storage: Storage) -> None:
        self.seconds = 1_000.0
        self.storage = storage
        self.transactions = Transactions(storage, clock=lambda: self.seconds)

    def begin(self) -> bytes:
        """Start a transaction and return its id."""
        return self.transactions.begin(DATABASE, m.BeginTransactionRequest().options).id

    async def read(self, transaction: bytes) -> None:
        """Read the document in a transaction."""
        request = m.BatchGetDocumentsRequest(transaction=transaction)
        read = ConsistentRead(self.storage, self.transactions, request, DATABASE)
        await read.documents([write().name])

    async def commit(self, transaction: bytes | None) -> None:
        """Write the document, in a transaction or alone."""
        active = None if transaction is None else self.transactions.get(transaction, DATABASE)
        await self.transactions.commit([write()], active)


def write() -> PreparedWrite:
    """Return a write of the one document."""
    return prepare(m.Write(update=m.Document(name=f"{ROOT}/a/x")), DATABASE)


@pytest.fixture
async def timed(tmp_path: Path) -> AsyncIterator[TimedTransactions]:
    """Transactions on an empty file."""
    storage = Storage(tmp_path / "firestore.sqlite")
    timed = TimedTransactions(storage)
    yield timed
    await timed.transactions.close()
    await storage.close()


async def test_a_transaction_commits_once(timed: TimedTransactions) -> None:
    """A second Commit that arrives during the first would otherwise store its writes again."""
    transaction = timed.begin()
    message = m.Write(update=m.Document(name=f"{ROOT}/a/counter"))
    message.update_mask.SetInParent()
    message.update_transforms.add(field_path="n", increment=m.Value(integer_value=1))
    increment = [prepare(message, DATABASE)]
    active = timed.transactions.get(transaction, DATABASE)

    is_released = threading.Event()

    blocking = asyncio.create_task(timed.storage.write(lambda _: is_released.wait()))
    committing = [asyncio.create_task(timed.transactions.commit(increment, active)) for _ in range(2)]
    await asyncio.sleep(0)
    is_released.set()
    await blocking
    first: Any = await committing[0]
    with pytest.raises(StatusError, match="transaction has expired"):
        await committing[1]
    third: Any = await timed.transactions.commit(increment, None)

    assert first.write_results[0].transform_results[0].integer_value == 1
    assert third.write_results[0].transform_results[0].integer_value == 2


async def test_a_transaction_expires_after_a_minute_without_calls(timed: TimedTransactions) -> None:
    """It can neither read nor commit, and its locks are released."""
    idle = timed.begin()
    await timed.read(idle)
    timed.seconds += 60
    await timed.read(idle)
    timed.seconds += 60.1

    with pytest.raises(StatusError, match="transaction has expired"):
        await timed.read(idle)
    with pytest.raises(StatusError, match="transaction has expired"):
        await timed.commit(idle)
    timed.transactions.end_expired()

    assert timed.transactions.active_count == 0
    await timed.commit(None)


async def query_then_change(timed: TimedTransactions, *changes: PreparedWrite) -> bytes:
    """Query the collection `a` in a transaction. Then change it, and 1,200 documents of another collection."""
    transaction = timed.begin()
    request = m.RunQueryRequest(transaction=transaction)
    query = structured_query.read(ROOT, m.StructuredQuery(from_=[{"collection_id": "a"}]))
    read = ConsistentRead(timed.storage, timed.transactions, request, DATABASE)
    assert [document async for document in read.query(query)] == []
    others = [prepare(m.Write(update=m.Document(name=f"{ROOT}/b/{number}")), DATABASE) for number in range(1_200)]
    work = partial(commits.commit, writes=[*changes, *others], check_conflicts=commits.no_conflicts)
    await timed.storage.write(work)
    return transaction


async def test_other_writes_do_not_wait_for_the_validation_of_a_long_transaction(timed: TimedTransactions) -> None:
    """Its queries are validated by a reader, except for the last changes."""
    transaction = await query_then_change(timed)

    committing = asyncio.create_task(timed.commit(transaction))
    await asyncio.sleep(0)  # the commit starts
    await timed.storage.write(lambda group: None)

    assert not committing.done()
    await committing


async def test_a_change_long_before_the_commit_of_a_transaction_is_a_conflict(timed: TimedTransactions) -> None:
    """The reader that validates a query finds it."""
    transaction = await query_then_change(timed, prepare(m.Write(update=m.Document(name=f"{ROOT}/a/y")), DATABASE))

    with pytest.raises(StatusError, match="Too much contention"):
        await timed.commit(transaction)


async def test_a_transaction_expires_after_270_seconds_of_use(timed: TimedTransactions) -> None:
    """A commit at 270 seconds is accepted, and a commit after it is refused."""
    in_time, late = timed.begin(), timed.begin()
    for _ in range(9):
        timed.seconds += 30
        await timed.read(in_time)
        await timed.read(late)
        timed.transactions.end_expired()
    timed.transactions.rollback(late, DATABASE)
    await timed.commit(in_time)

    late = timed.begin()
    for _ in range(9):
        timed.seconds += 30
        await timed.read(late)
    timed.seconds += 0.1

    with pytest.raises(StatusError, match="transaction has expired"):
        await timed.commit(late)
    timed.transactions.end_expired()
    assert timed.transactions.active_count == 0


async def test_a_transaction_is_not_idle_while_a_call_runs(timed: TimedTransactions) -> None:
    """A slow query keeps its locks. The idle minute starts when the query ends."""
    await timed.commit(None)
    slow = timed.begin()
    transaction = timed.transactions.get(slow, DATABASE)

    with timed.transactions.running_call(transaction):
        timed.seconds += 100
        timed.transactions.end_expired()
    timed.seconds += 59

    await timed.read(slow)
    await timed.commit(slow)
