"""The memory for rollups does not grow with the number and the size of the sketches of a day."""

from collections.abc import Sequence
from typing import Any

import pytest

from graphql_api.results import rolled_up_results
from graphql_api.results.summaries import TimeBucket
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.rollups import day_rollups, rollup_store
from storage.rollups.rollup import EARLIEST, LATEST, Resolution
from tests.triggers.rollups.conftest import Database, no_pause
from tests.triggers.rollups.summary_check import HOUR, START, check

MANY_BINS = [1.5**number for number in range(200)]


async def build_six_hours(database: Database) -> None:
    """Build the rollups of three series with large sketches, in six hours of two days."""
    for number in range(6):
        for site in "abc":
            await database.compute(START + number * HOUR, MANY_BINS, {"site": site})
    await database.build()


async def test_a_window_ends_within_a_day_before_its_sketches_need_too_much_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the day is in the next window. If a window is nearly full at midnight, it ends there."""
    await build_six_hours(database)
    monkeypatch.setattr(rollup_store, "MAX_BYTES", 10_000)
    monkeypatch.setattr(rollup_store, "MAX_BYTES_AT_MIDNIGHT", 5_000)

    windows = [
        (window.end.hour, {start.hour for start, _ in window.snapshots}, len(window.snapshots))
        async for window in database.series_rollups.windows(
            START, START + 6 * HOUR, await database.firestore.now(), Resolution.HOUR, no_pause, lambda _: True
        )
    ]

    assert windows == [(0, {22, 23}, 6), (3, {0, 1, 2}, 9), (4, {3}, 3)]
    await check(database, EARLIEST, LATEST)


async def test_an_hour_and_a_day_are_never_divided(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read as a whole, although it needs more memory than the limit."""
    await build_six_hours(database)
    monkeypatch.setattr(rollup_store, "MAX_BYTES", 1)
    monkeypatch.setattr(rollup_store, "MAX_BYTES_AT_MIDNIGHT", 1)

    for resolution, expected in ((Resolution.HOUR, [3] * 6), (Resolution.DAY, [3, 3])):
        windows = database.series_rollups.windows(
            START.replace(hour=0), START + 6 * HOUR, await database.firestore.now(), resolution, no_pause, bool
        )
        assert [len(window.snapshots) async for window in windows] == expected


async def test_documents_of_a_day_are_encoded_a_few_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of many series has many documents. All of them together would need twice the memory of the day."""
    monkeypatch.setattr(day_rollups, "MAX_NEW_BYTES", 1)
    monkeypatch.setattr(rollup_store, "_MAX_WRITES", 2)
    sizes: list[int] = []
    write_all = GroupCommitWriter.write_all

    async def recorded(writer: GroupCommitWriter, writes: Sequence[Any], submitter: str = "") -> list[Any]:
        if submitter:
            sizes.append(len(writes))
        return await write_all(writer, writes, submitter)

    for site in "abcde":
        await database.compute(START, [1.0], {"site": site})
    monkeypatch.setattr(GroupCommitWriter, "write_all", recorded)
    await database.build()

    assert sizes == [1, 2, 2, 1]
    await check(database, EARLIEST, LATEST)


async def test_few_groups_of_an_hour_that_is_read_in_part_are_in_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such an hour can have thousands of groups. A group then has several parts, which are merged."""
    monkeypatch.setattr(rolled_up_results, "_MAX_GROUPS_IN_MEMORY", 2)
    sizes: list[int] = []
    make_pieces = rolled_up_results._pieces

    def recorded(start: Any, groups: Any) -> Any:
        sizes.append(len(groups))
        return make_pieces(start, groups)

    monkeypatch.setattr(rolled_up_results, "_pieces", recorded)
    for minute, site in enumerate("abcabc"):
        await database.compute(START + minute * HOUR / 60, [1.0], {"site": site})
    await database.build()

    buckets = await database.buckets(START, START + HOUR / 2, TimeBucket.DAY, names=["site"])

    assert (max(sizes), sum(sizes)) == (2, 6)
    assert [each.results for each in buckets.values()] == [2, 2, 2]
