"""The connections that read from the SQLite file, and the threads that use them.

A read takes the free connection that was used last. Consecutive reads therefore fill the page cache of only one
connection.

If SQLite reports damage, the read runs again on another connection, because the disk may have failed only once.
"""

import asyncio
import contextlib
import sqlite3
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from infra.embedded.firestore.errors import is_damage

T = TypeVar("T")
READER_THREADS = 4
READER_CACHE_KIB = 4 * 1024
"""The page cache of a connection. With 16 MiB, pages of 50 results out of 1,600,000 took the same time."""


class Readers:
    """Runs reads, each in one SQLite transaction. `connect` opens a connection that several threads may use.

    `diagnose` returns the error to raise for an error of SQLite.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], diagnose: Callable[[Exception], Exception]) -> None:
        self._connect = connect
        self._diagnose = diagnose
        self._threads = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="firestore-reader")
        self._free: list[sqlite3.Connection] = []

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.read_blocking, work)

    def read_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the thread of the caller."""
        try:
            return self._attempt(work)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        try:
            return self._attempt(work)
        except sqlite3.DatabaseError as error:
            raise self._diagnose(error) from error

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._take()
        is_intact = True
        try:
            connection.execute("BEGIN")
            try:
                return work(connection)
            except BaseException as error:
                # An unfinished SELECT would keep its snapshot of the file, and the next read would use this snapshot.
                traceback.clear_frames(error.__traceback__)
                raise
            finally:
                if connection.in_transaction:  # SQLite itself ends a transaction after some errors of the disk
                    connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            is_intact = not is_damage(error)  # the page cache may contain the damage
            raise
        finally:
            # In a transaction, the next read would see an old state, and the log could not restart.
            if connection.in_transaction or not is_intact:
                connection.close()
            else:
                self._free.append(connection)

    async def release_memory(self) -> None:
        """Free the page caches of the connections that no read uses."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._shrink)

    def close(self) -> None:
        """Wait for the running reads, and close all connections."""
        self._threads.shutdown()
        while self._free:
            self._free.pop().close()

    def _take(self) -> sqlite3.Connection:
        try:
            return self._free.pop()
        except IndexError:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
            return connection

    def _shrink(self) -> None:
        """Free the page caches. Take one connection at a time, so that reads need not open further connections."""
        for connection in tuple(self._free):
            with contextlib.suppress(ValueError):  # a read has taken it
                self._free.remove(connection)
                release_page_cache(connection)
                self._free.insert(0, connection)


def release_page_cache(connection: sqlite3.Connection) -> None:
    """Free the pages that a connection caches. Later statements read them again."""
    connection.execute("PRAGMA shrink_memory")
