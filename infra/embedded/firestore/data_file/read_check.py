"""The read check: whether the disk can read the data file.

If the disk cannot read a page (EIO), SQLite reports damage (SQLITE_CORRUPT), as for a page with wrong content. Damage
needs a backup, and a failing disk needs a repair. After SQLite has reported damage twice, this module therefore reads
the whole file and its write-ahead log. This takes long, so it runs on a thread of its own. Until it has finished,
calls fail with UNAVAILABLE, so that clients try again.
"""

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.embedded.firestore.errors import is_damage, unavailable

BLOCK_BYTES = 1024 * 1024
VALID_SECONDS = 60.0
"""How long a result is used, so that repeated reads of a damaged page do not read the whole file again."""

_PAUSE_PER_SECOND = 20.0
"""A result is used for at least this multiple of the time that its check took. A file of 100 GB takes minutes."""

logger = logging.getLogger(__name__)


class ReadCheck:
    """The read check of the open data file. `clock` returns monotonic time in seconds."""

    def __init__(self, descriptor: int, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._descriptor = descriptor  # closing another descriptor of the data file would release SQLite's locks
        self._log = log
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="firestore-read-check")
        self._is_running = self._is_closed = False
        self._checked_at = -math.inf
        self._valid_seconds = VALID_SECONDS
        self._problem: OSError | None = None

    @property
    def is_disk_intact(self) -> bool:
        """Whether the last check has read the whole file, and is not out of date.

        `diagnose` still uses a result that is out of date, until the next check has finished.
        """
        is_valid = not self._is_running and self._clock() - self._checked_at <= self._valid_seconds
        return is_valid and self._problem is None

    def diagnose(self, error: Exception) -> Exception:
        """Return the error to report for an error of SQLite. It differs only if SQLite reports damage."""
        if not is_damage(error):
            return error
        is_known = self._checked_at > -math.inf
        if self._clock() - self._checked_at > self._valid_seconds and not self._is_running and not self._is_closed:
            self._is_running = True
            try:
                self._executor.submit(self._run)
            except (MemoryError, RuntimeError):  # too little memory for the thread; the next damage tries again
                self._is_running = False
        if not is_known:
            return unavailable("The data file may be damaged. The server is checking whether the disk can read it.")
        if self._problem is not None:
            return unavailable(f"The disk cannot read the data file: {self._problem.strerror}.")
        return error

    def close(self) -> None:
        """Stop a running check."""
        self._is_closed = True
        self._executor.shutdown()

    def _run(self) -> None:
        try:
            self._check()
        except Exception:  # for example, MemoryError
            logger.exception("The check whether the disk can read the data file failed; the next damage repeats it")
        finally:
            self._is_running = False

    def _check(self) -> None:
        began = self._clock()
        try:
            self._read(self._descriptor)
            with contextlib.suppress(FileNotFoundError):
                log = os.open(self._log, os.O_RDONLY)
                try:
                    self._read(log)
                finally:
                    os.close(log)
        except OSError as error:
            self._problem = error
            logger.error("The disk cannot read the data file: %s", error.strerror)  # noqa: TRY400 (the trace says nothing more)
        else:
            self._problem = None
            logger.error("The data file is damaged: SQLite reports damage, and the disk can read the whole file")
        self._checked_at = self._clock()
        self._valid_seconds = max(VALID_SECONDS, _PAUSE_PER_SECOND * (self._checked_at - began))

    def _read(self, descriptor: int) -> None:
        position = 0
        while not self._is_closed and (block := os.pread(descriptor, BLOCK_BYTES, position)):
            position += len(block)
