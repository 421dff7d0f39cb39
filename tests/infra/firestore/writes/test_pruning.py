"""What is deleted when nobody can need it any more, and what is not."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.consistent_read import ConsistentRead
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.queries import scanner, structured_query
from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.writer import Group
from infra.embedded.firestore.writes import commits, document_write
from infra.embedded.firestore.writes.pruning import prune
from infra.embedded.firestore.writes.transactions import Transactions
from tests.infra.firestore.server_process import DATABASE, ROOT


class File:
    """A file that keeps nothing for reads of the past, opened as often as a test likes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage = Storage(path, version_retention_seconds=0)

    async def reopen(self) -> None:
        """Close it and open it again, as a restart does."""
        await self.storage.close()
        self.storage = Storage(self.path, version_retention_seconds=0)

    async def write(self, document_id: str, number: int | None) -> int:
        """Write or (None) delete a document; return the sequence of its change."""
        message = m.Write(delete=f"{ROOT}/a/{document_id}")
        if number is not None:
            message = m.Write(update=m.Document(name=f"{ROOT}/a/{document_id}"))
            message.update.fields["n"].integer_value = number
        prepared = document_write.prepare(message, DATABASE)

        def work(group: Group) -> Any:
            return commits.batch_write(group, [prepared], commits.no_conflicts)

        ((_, refusal),) = await self.storage.write(work)
        assert refusal is None
        return self.storage.snapshot().sequence

    async def sequences(self) -> list[int]:
        """Return the sequences of the versions that are kept."""
        rows = await self.storage.read(lambda c: c.execute("SELECT sequence FROM versions ORDER BY 1").fetchall())
        return [sequence for (sequence,) in rows]


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[File]:
    """A new file."""
    file = File(tmp_path / "firestore.sqlite")
    yield file
    await file.storage.close()


async def test_no_sequence_is_used_twice_when_everything_is_deleted_and_pruned(file: File) -> None:
    """Also across a restart: who has seen changes up to some sequence must not miss the next one."""
    seen = []
    for _ in range(3):
        seen += [await file.write("x", 1), await file.write("x", None)]
        await prune(file.storage)
        await file.reopen()
        await prune(file.storage)

    assert seen == [1, 2, 3, 4, 5, 6]
    assert await file.sequences() == [6], "the newest deletion stays, those before it do not"


async def test_changes_are_kept_for_a_holder_that_does_not_run(file: File) -> None:
    """It is in the file, so that whoever prunes first after a restart knows of it; once released, they go."""
    await file.write("x", 0)
    await file.storage.execute(partial(change_consumers.register, name="follower", sequence=1))
    await file.storage.execute(partial(change_consumers.register, name="faster", sequence=3))
    for number in (1, 2, 3):
        await file.write("x", number)
    await file.reopen()

    await prune(file.storage)
    held = await file.storage.changes(1, 10)
    await file.storage.execute(partial(change_consumers.advance, name="follower", sequence=3))
    await prune(file.storage)
    moved = await file.sequences()
    await file.storage.execute(partial(change_consumers.remove, name="follower"))
    await file.storage.execute(partial(change_consumers.remove, name="faster"))
    await prune(file.storage)

    numbers = [m.Document.FromString(change.old or b"").fields["n"].integer_value for change in held]
    assert ([change.sequence for change in held], numbers) == ([2, 3, 4], [0, 1, 2])
    assert moved == [3, 4]
    assert await file.sequences() == [4]


async def test_a_query_that_takes_longer_than_versions_are_kept_fails_instead_of_leaving_documents_out(
    file: File,
) -> None:
    """What it has not come to yet was changed meanwhile, and what it was then is pruned."""
    for number in range(4):
        await file.write(str(number), number)
    query = structured_query.read(
        ROOT, m.StructuredQuery(from_=[m.StructuredQuery.CollectionSelector(collection_id="a")])
    )
    results = scanner.stream(file.storage, query, file.storage.snapshot().read_time, page_size=2)
    found = [await anext(results), await anext(results)]

    await file.write("3", 9)
    await prune(file.storage)

    with pytest.raises(StatusError, match="too old"):
        await anext(results)
    assert len(found) == 2


async def test_reading_before_a_deletion_that_is_pruned_fails(file: File) -> None:
    """A document that was there then is not said to be missing, also where the deletion was the last to be pruned."""
    await file.write("x", 1)
    before = file.storage.snapshot().read_time
    deletion = await file.write("x", None)
    await file.storage.execute(partial(change_consumers.register, name="follower", sequence=deletion))
    await file.write("y", 1)
    await prune(file.storage)
    query = structured_query.read(
        ROOT, m.StructuredQuery(from_=[m.StructuredQuery.CollectionSelector(collection_id="a")])
    )

    with pytest.raises(StatusError, match="too old"):
        await anext(scanner.stream(file.storage, query, before, page_size=2))


async def test_pruning_looks_at_nothing_that_is_too_young(tmp_path: Path) -> None:
    """What was written within the time that is kept is not gone through: it may be all there is."""
    storage = Storage(tmp_path / "firestore.sqlite", version_retention_seconds=3600)
    statements: list[str] = []
    try:
        message = m.Write(update=m.Document(name=f"{ROOT}/a/1"))
        prepared = document_write.prepare(message, DATABASE)
        await storage.write(lambda group: commits.batch_write(group, [prepared], commits.no_conflicts))
        await storage.execute(lambda connection: connection.set_trace_callback(statements.append))

        await prune(storage)
        await storage.execute(lambda connection: connection.set_trace_callback(None))
    finally:
        await storage.close()

    assert not [statement for statement in statements if "FROM versions" in statement and "WHERE" in statement]


async def test_a_transaction_does_not_commit_on_what_cannot_be_checked_any_more(file: File) -> None:
    """What it has found was deleted, and the deletion is pruned."""
    transactions = Transactions(file.storage)
    options = m.BeginTransactionRequest().options
    options.read_write.concurrency_mode = 1  # optimistic
    transaction = transactions.begin(DATABASE, options)
    structured = m.StructuredQuery(from_=[m.StructuredQuery.CollectionSelector(collection_id="a")])
    structured.where.field_filter.field.field_path, structured.where.field_filter.op = "n", 4  # at least
    structured.where.field_filter.value.integer_value = 0
    await file.write("found", 1)
    read = ConsistentRead(file.storage, transactions, m.RunQueryRequest(transaction=transaction.id), DATABASE)
    found = [document.name async for _, document in read.query(structured_query.read(ROOT, structured))]

    await file.write("found", None)
    await file.write("unseen", -1)
    await prune(file.storage)

    with pytest.raises(StatusError, match="contention"):
        await transactions.commit([document_write.prepare(m.Write(delete=f"{ROOT}/a/other"), DATABASE)], transaction)
    assert len(found) == 1
    await transactions.close()
