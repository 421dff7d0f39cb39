"""The state of the disk, and the lines that are logged about it."""

import logging
import sqlite3
from pathlib import Path

import pytest

from infra.embedded.firestore.storage.disk_health import LOG_SECONDS, PERSISTENT_SECONDS, DiskHealth


class Machine:
    """Disk health with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.health = DiskHealth(Path("file"), clock=lambda: self.now)
        self.error = sqlite3.OperationalError("database or disk is full")
        self.error.sqlite_errorcode = sqlite3.SQLITE_FULL
        self.error.sqlite_errorname = "SQLITE_FULL"

    def fail(self) -> None:
        """Report one failed write."""
        self.health.report_failure(self.error, 1)


@pytest.fixture
def machine(caplog: pytest.LogCaptureFixture) -> Machine:
    """Return a new machine. All lines are captured."""
    caplog.set_level(logging.WARNING)
    return Machine()


def test_many_failures_are_logged_in_few_lines(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """One line when writes start to fail, one every LOG_SECONDS, and one when writes succeed again."""
    for _ in range(1_000):
        machine.fail()
    machine.now += LOG_SECONDS
    machine.fail()
    machine.health.report_success()

    full = "The disk is full; nothing was written."
    assert [record.getMessage() for record in caplog.records] == [
        f"Writes to file fail; reads still work: {full} (1 writes, SQLITE_FULL)",
        f"Writes to file still fail: {full} (1000 writes, SQLITE_FULL)",
        "Writes to file succeed again; 0 more writes had failed",
    ]
    assert machine.health.failed_writes == 1_001


def test_a_disk_that_alternates_does_not_flood_the_log(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """On an almost full disk, large writes fail and small ones succeed. The state is exact at every time."""
    for _ in range(1_000):
        machine.fail()
        assert machine.health.problem == "The disk is full; nothing was written."
        machine.health.report_success()
        assert machine.health.problem is None

    assert len(caplog.records) == 2


def test_the_log_never_says_for_long_that_a_full_disk_works(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """A small commit can succeed after the first failure. The log then names the later failures, and their end."""
    machine.fail()
    machine.health.report_success()
    for _ in range(100):
        machine.fail()
        machine.now += PERSISTENT_SECONDS / 50
    machine.health.report_success()

    full = "The disk is full; nothing was written."
    assert [record.getMessage() for record in caplog.records][2:] == [
        f"Writes to file fail; reads still work: {full} (51 writes, SQLITE_FULL)",
        "Writes to file succeed again; 49 more writes had failed",
    ]
