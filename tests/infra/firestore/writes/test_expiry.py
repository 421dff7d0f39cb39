"""Transactions that their clients have left, by a clock that the tests set."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.consistent_read import ConsistentRead
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes.document_write import PreparedWrite, prepare
from infra.embedded.firestore.writes.transactions import Transactions
from tests.infra.firestore.server_process import DATABASE, ROOT


class Bench:
    """Transactions on a file, and the clock that they go by."""

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
        """Write the document, in a transaction or not."""
        found = None if transaction is None else self.transactions.get(transaction, DATABASE)
        await self.transactions.commit([write()], found)


def write() -> PreparedWrite:
    """Return a write of the one document."""
    return prepare(m.Write(update=m.Document(name=f"{ROOT}/a/x")), DATABASE)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Transactions on an empty file."""
    storage = Storage(tmp_path / "firestore.sqlite")
    bench = Bench(storage)
    yield bench
    await bench.transactions.close()
    await storage.close()


async def test_a_transaction_that_is_left_alone_for_a_minute_has_expired(bench: Bench) -> None:
    """Then it can neither read nor commit, and is in nobody's way."""
    left = bench.begin()
    await bench.read(left)
    bench.seconds += 60
    await bench.read(left)
    bench.seconds += 60.1

    with pytest.raises(StatusError, match="transaction has expired"):
        await bench.read(left)
    with pytest.raises(StatusError, match="transaction has expired"):
        await bench.commit(left)
    bench.transactions.end_expired()

    assert bench.transactions.active_count == 0
    await bench.commit(None)


async def test_a_transaction_lives_for_270_seconds_however_busy_it_is(bench: Bench) -> None:
    """One that commits in the last of them is in time."""
    in_time, late = bench.begin(), bench.begin()
    for _ in range(9):
        bench.seconds += 30
        await bench.read(in_time)
        await bench.read(late)
        bench.transactions.end_expired()
    bench.transactions.rollback(late)
    await bench.commit(in_time)

    late = bench.begin()
    for _ in range(9):
        bench.seconds += 30
        await bench.read(late)
    bench.seconds += 0.1

    with pytest.raises(StatusError, match="transaction has expired"):
        await bench.commit(late)
    bench.transactions.end_expired()
    assert bench.transactions.active_count == 0


async def test_a_transaction_is_not_idle_while_a_call_is_under_way(bench: Bench) -> None:
    """A query that takes its time keeps its locks; the minute begins at its end."""
    await bench.commit(None)
    slow = bench.begin()
    transaction = bench.transactions.get(slow, DATABASE)

    with bench.transactions.running_call(transaction):
        bench.seconds += 100
        bench.transactions.end_expired()
    bench.seconds += 59

    await bench.read(slow)
    await bench.commit(slow)
