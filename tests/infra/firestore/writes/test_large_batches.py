"""BatchWrite of writes to large documents: several group commits, between which other writes run."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.errors import StatusError, unavailable
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import document_write, transactions
from infra.embedded.firestore.writes.lock_queue import LockOwner
from infra.embedded.firestore.writes.transactions import Transactions
from tests.infra.firestore.server_process import DATABASE, ROOT

NAMES = [f"{ROOT}/large/{number}" for number in range(10)]


@pytest.fixture
async def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Storage]:
    """A file with ten documents, of which three exceed the bytes of a group commit."""
    monkeypatch.setattr(transactions, "MAX_STORED_BYTES", 2_500)
    storage = Storage(tmp_path / "firestore.sqlite")
    yield storage
    await storage.close()


@pytest.fixture
async def commits(storage: Storage) -> AsyncIterator[Transactions]:
    """The commits of clients."""
    commits = Transactions(storage)
    documents = [m.Document(name=name, fields={"raw": m.Value(bytes_value=bytes(1_000))}) for name in NAMES]
    await commits.batch_write([document_write.prepare(m.Write(update=each), DATABASE) for each in documents])
    yield commits
    await commits.close()


def deletes() -> list[document_write.PreparedWrite]:
    """Return deletes of all documents."""
    return [document_write.prepare(m.Write(delete=name), DATABASE) for name in NAMES]


async def commit_sizes(storage: Storage) -> list[int]:
    """Return the number of documents that each commit has deleted."""
    sql = "SELECT count(*) FROM versions WHERE document IS NULL GROUP BY commit_time ORDER BY commit_time"
    return await storage.read(lambda connection: [count for (count,) in connection.execute(sql)])


async def test_a_batch_that_deletes_large_documents_is_several_commits(storage: Storage, commits: Transactions) -> None:
    """A group holds a few of the deleted documents in memory."""
    outcomes = await commits.batch_write(deletes())

    assert [error for _, error in outcomes] == [None] * 10
    assert all(isinstance(result, type(m.WriteResult())) for result, _ in outcomes)
    assert await commit_sizes(storage) == [3, 3, 3, 1]


async def test_writes_after_a_failed_commit_have_its_error(
    storage: Storage, commits: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writes before it are stored, so the call itself does not fail."""
    write, calls = storage.write, list[Any]()

    async def failing(work: Any) -> Any:
        calls.append(work)
        if len(calls) == 2:
            raise unavailable("The disk failed; nothing was written.")
        return await write(work)

    monkeypatch.setattr(storage, "write", failing)
    outcomes = await commits.batch_write(deletes())

    assert [error.message if error else "" for _, error in outcomes] == [""] * 3 + [
        "The disk failed; nothing was written."
    ] * 7
    assert await commit_sizes(storage) == [3]


async def test_a_call_fails_if_nothing_was_stored(
    storage: Storage, commits: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients repeat the whole call."""

    async def failing(work: Any) -> Any:
        raise unavailable("The disk failed; nothing was written.")

    monkeypatch.setattr(storage, "write", failing)

    with pytest.raises(StatusError, match="The disk failed"):
        await commits.batch_write(deletes())


async def test_a_batch_waits_for_locks_after_it_has_attempted_each_write(
    storage: Storage, commits: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locked documents exceed a group commit. The batch must not attempt them all the time until they are free."""
    holder = LockOwner(0)
    for name in NAMES:
        await commits.locks.lock_document(holder, name)
    write, calls, calls_before_wait = storage.write, list[Any](), list[int]()

    async def counting(work: Any) -> Any:
        calls.append(work)
        return await write(work)

    async def release(owner: LockOwner, blocked: Any) -> None:
        calls_before_wait.append(len(calls))
        commits.locks.release(holder)

    monkeypatch.setattr(storage, "write", counting)
    monkeypatch.setattr(commits.locks, "wait_for_holder", release)
    async with asyncio.timeout(60):
        outcomes = await commits.batch_write(deletes())

    assert calls_before_wait == [4]
    assert [error for _, error in outcomes] == [None] * 10
    assert await commit_sizes(storage) == [3, 3, 3, 1]
