"""Reads share few connections, and the page caches of idle connections are freed."""

import _sqlite3
import asyncio
import contextlib
import ctypes
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.firestore.data_file.connection import CACHE_KIB
from infra.embedded.firestore.storage.readers import READER_CACHE_KIB, READER_THREADS, Readers
from infra.embedded.firestore.storage.storage import Storage

MIB = 2**20


def memory_used() -> int:
    """Return the bytes that SQLite uses in this process."""
    try:
        used = ctypes.CDLL(_sqlite3.__file__).sqlite3_memory_used
    except (AttributeError, OSError):
        return 0
    used.restype = ctypes.c_int64
    return int(used())


def counts_memory() -> bool:
    """Return whether `memory_used` works with this SQLite."""
    with contextlib.closing(sqlite3.connect(":memory:")):
        return memory_used() > 0


class Opened:
    """Opens connections to one file, and counts them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0

    def __call__(self) -> sqlite3.Connection:
        self.count += 1
        return sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Return a function that opens connections to a new file."""
    return Opened(tmp_path / "data.sqlite")


@pytest.fixture
def readers(opened: Opened) -> Iterator[Readers]:
    """Return readers of a new file."""
    readers = Readers(opened, lambda error: error)
    yield readers
    readers.close()


async def test_reads_that_follow_each_other_use_one_connection(readers: Readers, opened: Opened) -> None:
    """On any thread."""
    for _ in range(2 * READER_THREADS):
        await readers.read(lambda connection: connection.execute("SELECT 1").fetchone())
        readers.read_blocking(lambda connection: connection.execute("SELECT 1").fetchone())

    assert opened.count == 1


async def test_reads_at_the_same_time_use_connections_of_their_own(readers: Readers, opened: Opened) -> None:
    """A read is one transaction."""
    all_started = threading.Barrier(READER_THREADS)

    def read(connection: sqlite3.Connection) -> sqlite3.Connection:
        all_started.wait()
        return connection

    connections = await asyncio.gather(*(readers.read(read) for _ in range(READER_THREADS)))

    assert len(set(connections)) == opened.count == READER_THREADS


async def test_a_read_that_fails_gives_its_connection_back(readers: Readers, opened: Opened) -> None:
    """The next read starts another transaction on it."""
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await readers.read(lambda connection: connection.execute("SELECT 1 FROM missing"))

    assert opened.count == 1


async def test_a_read_after_a_failed_one_sees_the_newest_state(readers: Readers, opened: Opened) -> None:
    """Also while the error of the failed read, with the unfinished SELECT of its frames, exists."""
    writer = opened()
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE numbers AS SELECT 1 AS number UNION SELECT 2")

    def fail(connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT number FROM numbers")
        raise LookupError(rows.fetchone())

    with pytest.raises(LookupError) as failed:
        await readers.read(fail)
    writer.execute("INSERT INTO numbers VALUES (3)")
    found = await readers.read(lambda connection: connection.execute("SELECT max(number) FROM numbers").fetchone())
    writer.close()

    assert failed.value.args == ((1,),)
    assert found == (3,)


@pytest.mark.parametrize(("statement", "connections"), [("BEGIN", 1), ("COMMIT", 2)])
def test_no_later_read_uses_a_transaction_that_could_not_end(
    readers: Readers, opened: Opened, statement: str, connections: int
) -> None:
    """It would read an old state. A connection without a transaction is used again."""

    def refuse(action: int, argument: str | None, *_: object) -> int:
        refused = action == sqlite3.SQLITE_TRANSACTION and argument == statement
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    connection = readers.read_blocking(lambda connection: connection)
    connection.set_authorizer(refuse)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        readers.read_blocking(lambda connection: connection.execute("SELECT 1").fetchone())
    if connections == 1:
        connection.set_authorizer(None)

    assert readers.read_blocking(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)
    assert opened.count == connections


@pytest.mark.skipif(not counts_memory(), reason="this SQLite does not count its memory")
async def test_idle_connections_give_the_memory_of_their_caches_back(tmp_path: Path) -> None:
    """The writer caches up to 16 MiB, and each connection that has read up to 4 MiB."""
    storage = Storage(tmp_path / "data.sqlite")
    try:
        before = memory_used()
        for _ in range(2 * CACHE_KIB // 1024):
            await storage.execute(_insert)
        all_started = threading.Barrier(READER_THREADS)
        await asyncio.gather(*(storage.read(lambda connection: _read(connection, all_started)) for _ in range(4)))
        grown = memory_used()
        await storage.release_memory()

        caches = (CACHE_KIB + READER_THREADS * READER_CACHE_KIB) * 1024
        assert caches / 2 < grown - before < caches * 1.25
        assert memory_used() - before < (grown - before) / 10
    finally:
        await storage.close()


def _insert(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO versions (commit_time, collection_number, path, document) VALUES (1, 1, x'', ?)", [os.urandom(MIB)]
    )


def _read(connection: sqlite3.Connection, all_started: threading.Barrier) -> int:
    all_started.wait()
    return sum(len(document) for (document,) in connection.execute("SELECT document FROM versions"))
