"""Writes fail while the data file is not at its path, because the next start would not find them."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from infra.embedded.firestore import errors
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.errors import FileMoved, LogMoved
from infra.embedded.firestore.storage import writer
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.server_process import DATABASE, ROOT
from tests.stack import PATIENCE_SECONDS

PROBLEM = "The data file was moved or deleted; nothing was written."


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer finds out soon that the file is back."""
    monkeypatch.setattr(writer, "DISK_TEST_SECONDS", 0.01)


async def write(storage: Storage, document_id: str) -> None:
    """Create a document."""
    prepared = document_write.prepare(m.Write(update=m.Document(name=f"{ROOT}/a/{document_id}")), DATABASE)
    await storage.write(partial(commits.commit, writes=[prepared], check_conflicts=commits.no_conflicts))


async def count(storage: Storage) -> int:
    """Return the number of documents."""
    return await storage.read(lambda c: int(c.execute("SELECT count(*) FROM documents").fetchone()[0]))


@pytest.mark.parametrize("name", ["data", "data/firestore.sqlite"])
async def test_writes_fail_until_the_file_is_back(tmp_path: Path, name: str) -> None:
    """An operator has moved the folder or the file. Nothing that was acknowledged is in another file."""
    data = tmp_path / "data/firestore.sqlite"
    storage = Storage(data)
    await write(storage, "before")

    (tmp_path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(FileMoved) as refused:
        await write(storage, "refused")
    problem = storage.health.problem
    storage.reserve.create()  # maintenance calls this all the time
    (tmp_path / "elsewhere").rename(tmp_path / name)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while storage.health.problem is not None:
            await storage.read(lambda _: None)
    await write(storage, "after")
    await storage.close()

    assert errors.from_exception(refused.value).message == problem == PROBLEM
    storage = Storage(data)
    assert await count(storage) == 2
    await storage.close()


async def test_a_deleted_file_is_not_created_again(tmp_path: Path) -> None:
    """A read would find an empty database, and a write would be lost at the end of the process."""
    data = tmp_path / "firestore.sqlite"
    storage = Storage(data)
    await write(storage, "before")

    data.unlink()
    with pytest.raises(FileMoved):
        await write(storage, "refused")
    await asyncio.gather(*(count(storage) for _ in range(8)), return_exceptions=True)

    assert not data.exists()
    await storage.close()


async def test_writes_fail_if_the_write_ahead_log_was_deleted(tmp_path: Path) -> None:
    """A kill of the process would lose later commits. All earlier commits are saved when the storage is closed."""
    data = tmp_path / "firestore.sqlite"
    storage = Storage(data)
    await write(storage, "before")

    (tmp_path / "firestore.sqlite-wal").unlink()
    with pytest.raises(LogMoved):  # the first read opens a connection, which would create another log
        await count(storage)
    with pytest.raises(LogMoved) as refused:
        await write(storage, "refused")
    await storage.close()

    assert errors.from_exception(refused.value).message == (
        "The write-ahead log of the data file was moved or deleted; nothing was written. "
        "Stop the server, which saves all earlier writes, and start it again."
    )
    storage = Storage(data)
    assert await count(storage) == 1
    await storage.close()
