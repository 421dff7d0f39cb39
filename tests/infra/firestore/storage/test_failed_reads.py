"""SQLite reports a disk that cannot read a page as damage. Such a read is repeated, and its error allows a retry."""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from infra.embedded.firestore import errors
from infra.embedded.firestore.data_file.read_check import VALID_SECONDS, ReadCheck
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.data_file.data_files import damage_error
from tests.stack import eventually

MEMORY = Path("/proc/self/mem")
"""A file of which no process can read the beginning."""


class Clock:
    """A clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def failing(times: int) -> Callable[[Any], int]:
    """Return work that finds damage a number of times, and then returns how often it was called."""
    calls: list[Any] = []

    def work(used: Any) -> int:
        calls.append(used)
        if len(calls) <= times:
            raise damage_error()
        return len(calls)

    return work


async def test_a_read_that_fails_once_is_repeated(storage: Storage) -> None:
    """On reader threads, on the event loop, and on the writer's thread."""
    assert await storage.read(failing(1)) == 2
    assert storage.read_blocking(failing(1)) == 2
    assert await storage.execute(failing(1)) == 2
    assert await asyncio.gather(*(storage.execute(failing(1)) for _ in range(3)))  # in one group commit


@pytest.mark.parametrize("method", [Storage.read, Storage.execute])
async def test_damage_is_reported_after_the_disk_has_read_the_file(storage: Storage, method: Any) -> None:
    """Until then, the code allows a retry."""
    codes: list[grpc.StatusCode] = []

    while not codes or codes[-1] is grpc.StatusCode.UNAVAILABLE:
        with pytest.raises((sqlite3.DatabaseError, StatusError)) as failed:
            await method(storage, failing(9))
        codes.append(errors.from_exception(failed.value).code)
        await asyncio.sleep(0)

    assert codes[0] is grpc.StatusCode.UNAVAILABLE
    assert codes[-1] is grpc.StatusCode.DATA_LOSS


@contextmanager
def checking(file: Path, clock: Callable[[], float] = time.monotonic) -> Iterator[ReadCheck]:
    """Return the check of a file and of the file `log` next to it. Close the check at the end."""
    descriptor = os.open(file, os.O_RDONLY)
    check = ReadCheck(descriptor, file.with_name("log"), clock)
    try:
        yield check
    finally:
        check.close()
        os.close(descriptor)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty file that the disk can read."""
    file = tmp_path / "data"
    file.touch()
    return file


@pytest.fixture
def unreadable() -> Iterator[ReadCheck]:
    """The check of a file that the disk cannot read."""
    if not MEMORY.exists():
        pytest.skip("only Linux has a file that cannot be read")
    with checking(MEMORY) as check:
        yield check


def test_a_disk_that_cannot_read_the_file_is_not_damage(unreadable: ReadCheck) -> None:
    """A backup is not necessary. The message names the error of the disk."""

    def status() -> StatusError:
        return errors.from_exception(unreadable.diagnose(damage_error()))

    assert status().code is grpc.StatusCode.UNAVAILABLE
    eventually(lambda: status().message == "The disk cannot read the data file: Input/output error.")
    assert status().code is grpc.StatusCode.UNAVAILABLE


def test_the_file_is_checked_again_after_some_time(data: Path) -> None:
    """A disk can fail later."""
    clock = Clock()
    with checking(data, clock) as check:
        error = damage_error()
        eventually(lambda: check.diagnose(error) is error)

        data.with_name("log").symlink_to(MEMORY)
        before = check.diagnose(error)
        clock.now += VALID_SECONDS + 1

        assert before is error
        eventually(lambda: check.diagnose(error) is not error)


def test_a_check_that_lacked_memory_is_repeated(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise, all calls that need a damaged page would wait for the end of this check forever."""
    failures = iter([MemoryError()])

    def clock() -> float:
        if threading.current_thread().name.startswith("firestore-read-check"):
            for failure in failures:
                raise failure
        return 1000.0

    with checking(data, clock) as check:
        error = damage_error()

        eventually(lambda: check.diagnose(error) is error)

    assert "The check whether the disk can read the data file failed" in caplog.text


def test_a_check_without_memory_for_its_thread_is_repeated(data: Path) -> None:
    """The damage is reported as soon as a thread can start."""
    with checking(data) as check:
        error = damage_error()

        stack_bytes = threading.stack_size(2**47)  # more than a process can address
        try:
            diagnosis = check.diagnose(error)
        finally:
            threading.stack_size(stack_bytes)

        assert "The server is checking" in str(diagnosis)
        eventually(lambda: check.diagnose(error) is error)


def test_a_result_that_is_out_of_date_does_not_say_that_the_disk_works(data: Path) -> None:
    """The disk can have failed since then."""
    clock = Clock()
    with checking(data, clock) as check:
        before = check.is_disk_intact
        check.diagnose(damage_error())
        eventually(lambda: check.is_disk_intact)
        clock.now += VALID_SECONDS + 1

        assert not before
        assert not check.is_disk_intact


def test_a_disk_that_cannot_read_the_file_is_not_intact(unreadable: ReadCheck) -> None:
    """The check has finished, and its result is valid."""
    eventually(lambda: "Input/output" in errors.from_exception(unreadable.diagnose(damage_error())).message)

    assert not unreadable.is_disk_intact


class ClockOfSlowDisk(Clock):
    """A clock that goes on by 100 s when a check looks at it: at its start and at its end."""

    looks = 0

    def __call__(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self.looks += 1
            self.now += 100
        return self.now


@pytest.mark.parametrize(("seconds", "checks"), [(1_900, 1), (2_100, 2)])
def test_a_check_that_takes_long_is_rarely_repeated(data: Path, seconds: float, checks: int) -> None:
    """Otherwise damaged pages that clients read again and again would keep the disk busy with a large file."""
    clock = ClockOfSlowDisk()
    with checking(data, clock) as check:
        error = damage_error()
        eventually(lambda: check.diagnose(error) is error)

        clock.now += seconds
        check.diagnose(error)

    assert clock.looks == 2 * checks


def test_other_errors_stay_as_they_are(unreadable: ReadCheck) -> None:
    """They need no check."""
    error = ValueError("other")

    assert unreadable.diagnose(error) is error
