"""Pruning deletes the versions that no read needs, and no others."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.consistent_read import ConsistentRead
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.queries import result_pages, structured_query
from infra.embedded.firestore.storage import change_consumers
from infra.embedded.firestore.storage.commit_group import CommitGroup
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from infra.embedded.firestore.writes.pruning import prune
from infra.embedded.firestore.writes.transactions import Transactions
from tests.infra.firestore.server_process import DATABASE, ROOT


class UnretainedFile:
    """A file that retains no superseded versions and can be reopened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage = Storage(path, version_retention_seconds=0)

    async def reopen(self) -> None:
        """Close and open the file, as a restart does."""
        await self.storage.close()
        self.storage = Storage(self.path, version_retention_seconds=0)

    async def write(self, document_id: str, number: int | None) -> int:
        """Write a document, or delete it if the number is None. Return the sequence of the change."""
        message = m.Write(delete=f"{ROOT}/a/{document_id}")
        if number is not None:
            message = m.Write(update=m.Document(name=f"{ROOT}/a/{document_id}"))
            message.update.fields["n"].integer_value = number
        prepared = document_write.prepare(message, DATABASE)

        def work(group: CommitGroup) -> Any:
            return commits.batch_write(group, [prepared], commits.no_conflicts)

        ((_, error),) = await self.storage.write(work)
        assert error is None
        return self.storage.snapshot().sequence

    async def replace_all(self, number: int) -> None:
        """Replace 50 documents of 10 kB each in one commit. `number` is part of them."""
        writes = []
        for document_id in range(50):
            message = m.Write(update=m.Document(name=f"{ROOT}/a/{document_id}"))
            message.update.fields["text"].string_value = f"{number} " * 5_000
            writes.append(document_write.prepare(message, DATABASE))
        await self.storage.write(lambda group: commits.batch_write(group, writes, commits.no_conflicts))

    async def pages(self) -> int:
        """Return the number of pages of the file, used or free."""
        pages: int = await self.storage.execute(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        return pages

    async def sequences(self) -> list[int]:
        """Return the sequences of the stored versions."""
        rows = await self.storage.read(lambda c: c.execute("SELECT sequence FROM versions ORDER BY 1").fetchall())
        return [sequence for (sequence,) in rows]


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[UnretainedFile]:
    """A new file."""
    file = UnretainedFile(tmp_path / "firestore.sqlite")
    yield file
    await file.storage.close()


async def test_sequences_are_not_reused_after_all_documents_are_deleted_and_pruned(file: UnretainedFile) -> None:
    """Otherwise a consumer that has processed a sequence would miss the next change with it, also after a restart."""
    sequences = []
    for _ in range(3):
        sequences += [await file.write("x", 1), await file.write("x", None)]
        await prune(file.storage)
        await file.reopen()
        await prune(file.storage)

    assert sequences == [1, 2, 3, 4, 5, 6]
    assert await file.sequences() == [6], "the newest deletion stays, earlier ones do not"


async def test_the_space_of_pruned_versions_is_used_again(file: UnretainedFile) -> None:
    """Documents are replaced in rounds. After some rounds, the file stays as large as it is, also after a restart."""
    pages = []
    for number in range(9):
        await file.replace_all(number)
        await prune(file.storage)
        pages.append(await file.pages())
        if number == 5:
            await file.reopen()

    assert len(await file.sequences()) == 50
    assert max(pages[3:]) <= max(pages[:3])


async def test_the_history_has_only_versions_that_are_not_pruned(file: UnretainedFile) -> None:
    """A query at an earlier time reads the versions that the history names."""
    for number in range(3):
        await file.write("x", number)
        await file.write("y", number)
    await prune(file.storage)

    history = await file.storage.read(lambda c: c.execute("SELECT version FROM history").fetchall())

    assert history == []
    assert await file.sequences() == [5, 6]


async def test_changes_are_retained_for_a_consumer_that_does_not_run(file: UnretainedFile) -> None:
    """Its position is in the file, so pruning respects it after a restart. Once released, the changes are pruned."""
    await file.write("x", 0)
    await file.storage.execute(partial(change_consumers.register, name="follower", sequence=1))
    await file.storage.execute(partial(change_consumers.register, name="faster", sequence=3))
    for number in (1, 2, 3):
        await file.write("x", number)
    await file.reopen()

    await prune(file.storage)
    retained = await file.storage.changes(1, 10)
    await file.storage.execute(partial(change_consumers.advance, name="follower", sequence=3))
    await prune(file.storage)
    after_moving = await file.sequences()
    await file.storage.execute(partial(change_consumers.remove, name="follower"))
    await file.storage.execute(partial(change_consumers.remove, name="faster"))
    await prune(file.storage)

    numbers = [m.Document.FromString(change.old or b"").fields["n"].integer_value for change in retained]
    assert ([change.sequence for change in retained], numbers) == ([2, 3, 4], [0, 1, 2])
    assert after_moving == [3, 4]
    assert await file.sequences() == [4]


async def test_a_query_that_outlasts_the_version_retention_fails(
    file: UnretainedFile,
) -> None:
    """A version that it has not read yet is pruned, so its result would lack a document."""
    for number in range(4):
        await file.write(str(number), number)
    query = structured_query.read(
        ROOT, m.StructuredQuery(from_=[m.StructuredQuery.CollectionSelector(collection_id="a")])
    )
    results = result_pages.stream(file.storage, query, file.storage.snapshot().read_time, page_size=2)
    found = [await anext(results), await anext(results)]

    await file.write("3", 9)
    await prune(file.storage)

    with pytest.raises(StatusError, match="too old"):
        await anext(results)
    assert len(found) == 2


async def test_a_read_before_a_pruned_deletion_fails(file: UnretainedFile) -> None:
    """The document existed at that time and must not be reported as missing. The deletion was pruned last."""
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
        await anext(result_pages.stream(file.storage, query, before, page_size=2))


async def test_pruning_does_not_read_retained_changes(tmp_path: Path) -> None:
    """The retained changes can be the whole file, so reading them would be slow."""
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


async def test_a_transaction_is_aborted_if_its_reads_cannot_be_validated(file: UnretainedFile) -> None:
    """The document that it read was deleted, and the deletion is pruned."""
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
