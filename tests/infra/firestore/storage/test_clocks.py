"""Steps of the machine's clock: commit times increase, and nothing expires early."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.storage import clock
from infra.embedded.firestore.storage.clock import CONFIRMATION_SECONDS, MAX_DRIFT_SECONDS, Clock, SteadyClock
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write, maintenance
from infra.embedded.firestore.writes.pruning import OldChanges, prune
from infra.embedded.firestore.writes.time_to_live import delete_expired
from infra.embedded.python_command import python_command
from tests.infra.firestore.server_process import DATABASE, ROOT
from tests.stack import PATIENCE_SECONDS

SECOND = 1_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
START = 1_700_000_000 * SECOND
_SAVED = "SELECT value FROM settings WHERE name = 'steady_clock'"


class Machine:
    """A machine whose clock can be set. Its times are in microseconds."""

    def __init__(self) -> None:
        self.elapsed = 0
        self.step = START

    @property
    def time_of_day(self) -> int:
        """The time that the clock shows."""
        return self.elapsed + self.step

    def steady_clock(self, saved: int | None = None) -> SteadyClock:
        """Return a steady clock of this machine."""
        return SteadyClock(saved, lambda: self.time_of_day, lambda: self.elapsed)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine whose times `Clock` reads."""
    machine = Machine()
    monkeypatch.setattr(clock, "now", lambda: machine.time_of_day)
    monkeypatch.setattr(clock, "elapsed", lambda: machine.elapsed)
    return machine


@given(st.lists(st.tuples(st.integers(0, HOUR // 2), st.integers(-3 * DAY, 3 * DAY)), max_size=20))
def test_a_steady_clock_is_never_ahead_because_of_a_step(events: list[tuple[int, int]]) -> None:
    """Within an hour of steps, it advances by at most the elapsed time and a small drift."""
    machine = Machine()
    steady = machine.steady_clock()
    started, first = machine.elapsed, steady.now()
    for pause, step in events:
        machine.elapsed += pause
        machine.step += step
        if machine.elapsed - started >= CONFIRMATION_SECONDS * SECOND:
            break
        assert steady.now() - first <= machine.elapsed - started + len(events) * MAX_DRIFT_SECONDS * SECOND


def test_a_step_forward_is_followed_after_an_hour() -> None:
    """For example if the clock was wrong when the machine started. A step that was an error has no effect."""
    machine = Machine()
    steady = machine.steady_clock()
    times = []
    for elapsed, step in ((0, 2 * DAY), (HOUR // 2, 0), (HOUR, 2 * DAY), (HOUR * 3 // 2, 2 * DAY), (2 * HOUR, 2 * DAY)):
        machine.elapsed, machine.step = elapsed, START + step
        times.append(steady.now() - START - elapsed)

    assert times == [0, 0, 0, 0, 2 * DAY]


def test_a_clock_that_is_wrong_at_the_start_is_followed_after_an_hour() -> None:
    """A machine can start with a wrong clock, and a process can restart while the clock is wrong."""
    machine = Machine()
    machine.step += 2 * DAY
    steady = machine.steady_clock(saved=START - HOUR)
    times = [steady.now()]
    machine.elapsed = HOUR - SECOND
    times.append(steady.now())
    machine.elapsed = HOUR
    times.append(steady.now())

    assert times == [START - HOUR, START - SECOND, START + HOUR + 2 * DAY]


def test_a_step_in_the_first_hour_of_a_process_is_followed_an_hour_later() -> None:
    """After a usual restart, the saved time is some seconds old. This hour does not count for a later step."""
    machine = Machine()
    steady = machine.steady_clock(saved=START - 10 * SECOND)
    ahead = []
    for minute in (0, 55, 60, 114, 115):
        machine.elapsed = minute * 60 * SECOND
        if minute == 55:
            machine.step += 2 * DAY
        ahead.append(steady.now() - START - machine.elapsed)

    assert ahead == [-10 * SECOND] * 4 + [2 * DAY]


def test_a_clock_that_is_behind_the_saved_time_is_followed_at_once() -> None:
    """The saved time was wrong, or the clock is wrong now. Documents then expire later."""
    machine = Machine()

    assert machine.steady_clock(saved=START + DAY).now() == START


def test_a_step_back_is_followed_at_once() -> None:
    """Documents then expire later by the time of day, and not twice as late."""
    machine = Machine()
    steady = machine.steady_clock()
    machine.step -= HOUR

    assert steady.now() == START - HOUR


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The storage of a new file. The documents of the collection group `a` expire at `at`."""
    storage = Storage(tmp_path / "firestore.sqlite", definitions=Definitions(ttl_fields={"a": ("at",)}))
    yield storage
    await storage.close()


async def write(storage: Storage, number: int, expires_at: int) -> None:
    """Write the document a/b."""
    document = m.Document(name=f"{ROOT}/a/b")
    document.fields["n"].integer_value = number
    document.fields["at"].timestamp_value.CopyFrom(m.timestamp(expires_at))
    prepared = document_write.prepare(m.Write(update=document), DATABASE)
    await storage.write(partial(commits.commit, writes=[prepared], check_conflicts=commits.no_conflicts))


async def count(storage: Storage, table: str) -> int:
    """Return the number of rows of a table."""
    return await storage.read(lambda c: int(c.execute(f"SELECT count(*) FROM {table}").fetchone()[0]))


async def test_a_step_of_two_days_deletes_nothing(storage: Storage) -> None:
    """Neither documents that expire tomorrow nor versions that reads of the last hour can need."""
    machine = Machine()
    machine.step = clock.now()
    storage.steady_clock = machine.steady_clock()
    read_time = storage.snapshot().read_time
    for number in range(2):
        await write(storage, number, clock.now() + DAY)
    machine.step += 2 * DAY

    await prune(storage)
    await delete_expired(storage, "a", ("at",))

    assert (await count(storage, "documents"), await count(storage, "versions")) == (1, 2)
    assert storage.check_read_time(read_time) == read_time


async def test_versions_are_pruned_although_the_clock_was_ahead(machine: Machine, storage: Storage) -> None:
    """Their commit times are ten days ahead, until the clock has caught up. The file would grow in these days."""
    machine.step += 10 * DAY
    for number in range(2):
        await write(storage, number, machine.time_of_day + 20 * DAY)
    machine.step -= 10 * DAY
    storage.steady_clock = machine.steady_clock()
    old_changes = OldChanges(storage.version_retention_seconds, lambda: machine.elapsed)

    versions = []
    for machine.elapsed in (0, HOUR - 1, HOUR):
        await prune(storage, old_changes.last(storage.snapshot().sequence))
        versions.append(await count(storage, "versions"))

    assert versions == [2, 2, 1]


async def test_large_documents_expire_in_small_commits(storage: Storage) -> None:
    """A commit holds the documents that it deletes in memory."""
    for number in range(20):
        document = m.Document(name=f"{ROOT}/a/{number}", fields={"bytes": m.Value(bytes_value=bytes(1_000_000))})
        document.fields["at"].timestamp_value.CopyFrom(m.timestamp(clock.now()))
        prepared = document_write.prepare(m.Write(update=document), DATABASE)
        await storage.write(partial(commits.commit, writes=[prepared], check_conflicts=commits.no_conflicts))
    deletions: list[int] = []
    storage.observers.append(lambda changes: deletions.append(len(changes)))

    await delete_expired(storage, "a", ("at",))

    assert sum(deletions) == 20
    assert max(deletions) < 20


async def test_a_process_continues_from_the_time_that_an_earlier_one_has_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 while the clock was wrong, all documents with an expiry were deleted."""
    monkeypatch.setattr(maintenance, "INTERVAL_SECONDS", 0.01)
    storage = Storage(tmp_path / "firestore.sqlite")
    storage.steady_clock = Machine().steady_clock()
    await write(storage, 1, START + DAY)
    task = asyncio.create_task(maintenance.run_maintenance(storage))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await storage.read(lambda c: c.execute(_SAVED).fetchone()):
            pass
    task.cancel()
    await storage.close()

    restarted = Storage(tmp_path / "firestore.sqlite")

    assert START <= restarted.steady_clock.now() < START + DAY
    await restarted.close()


def test_a_read_during_a_commit_is_before_the_commit() -> None:
    """The reader does not see the commit yet, so its read time must not include it."""
    commits = Clock(0, 0)
    commits.begin_commit()
    commit_time = commits.next_commit_time()

    during = commits.snapshot()
    commits.publish(1)
    after = commits.snapshot()

    assert during.read_time < commit_time <= after.read_time
    assert (during.sequence, after.sequence) == (0, 1)


def test_a_commit_is_later_than_each_requested_read_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock can be set back after the read."""
    time_of_day = START
    monkeypatch.setattr(clock, "now", lambda: time_of_day)
    commits = Clock(0, 0)
    assert commits.reserve(START)
    assert not commits.reserve(START + 1)

    time_of_day -= HOUR

    assert commits.next_commit_time() > START


def test_commit_times_advance_although_the_clock_was_set_back(machine: Machine) -> None:
    """At half of the speed, so that the clock catches up. A lease would otherwise end only then."""
    commit_clock = Clock(0, 0)
    first = commit_clock.next_commit_time()
    machine.step -= HOUR
    behind = []
    for machine.elapsed in (0, HOUR // 2, HOUR, 2 * HOUR, 3 * HOUR):
        behind.append(commit_clock.next_commit_time() - first)

    assert behind == [1, HOUR // 4, HOUR // 2, HOUR, 2 * HOUR]


def test_commit_times_advance_although_the_clock_was_set_back_twice(machine: Machine) -> None:
    """The second time is after a read, without a commit in between."""
    commit_clock = Clock(0, 0)
    commit_clock.next_commit_time()
    machine.step -= HOUR
    commit_clock.next_commit_time()
    machine.step += 24 * HOUR
    read_time = commit_clock.snapshot().read_time
    machine.step -= 24 * HOUR
    commit_clock.next_commit_time()

    machine.elapsed += HOUR

    assert commit_clock.next_commit_time() == read_time + HOUR // 2


def test_commit_times_increase_if_the_clock_is_set_back(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """They run ahead of the clock, which is logged once when it starts and once when it ends."""
    caplog.set_level(logging.WARNING)
    commit_clock = Clock(0, 0)
    times = []
    for step in (0, -HOUR, -HOUR, 0, 10):
        machine.step = START + step
        times += [commit_clock.next_commit_time(), commit_clock.snapshot().read_time]
        commit_clock.log_if_ahead()

    assert times == sorted(times)
    assert len({*times[::2]}) == 5
    assert [record.getMessage().split(" ")[:4] for record in caplog.records] == [
        ["Commit", "times", "run", "3600.0"],
        ["Commit", "times", "agree", "with"],
    ]
    assert caplog.messages[0].endswith("`export` and `import` of " + python_command("infra.embedded.firestore.archive"))
