"""Updates of days by an instance that knows less than the stored rollups, and updates of only some days."""

import pytest

from storage.rollups import difference_search
from storage.rollups.result_queries import ResultQueries
from storage.rollups.rollup import EARLIEST, LATEST
from tests.triggers.result_database import SUBMITTER
from tests.triggers.rollups.conftest import Database
from tests.triggers.rollups.summary_check import HOUR, START, check
from triggers.rollups.day_updates import DayUpdates
from triggers.schedules.event_pause import EventPause


def updates(database: Database) -> DayUpdates:
    """Return the updates of an instance."""
    queries = ResultQueries(database.firestore, SUBMITTER, shards=database.shards)
    stores = [database.rollups, database.series_rollups]
    return DayUpdates(database.writer, queries, stores, EventPause(), max_days=50)


async def test_an_instance_that_is_late_does_not_undo_the_work_of_another(database: Database) -> None:
    """It has read the checkpoint before the other instance has added results."""
    await database.compute(START, [1.0])
    await database.build()
    earlier = await database.checkpoints.read()
    assert earlier is not None
    await database.compute(START, [2.0])
    await database.compute(START + HOUR, [3.0])
    await database.compute(START, [4.0])
    await database.build()

    now = await database.firestore.now()
    _, _, stale = await updates(database).add_changes(earlier, now, now)

    assert stale == set()
    await check(database, EARLIEST, LATEST)


async def test_a_comparison_knows_the_later_results_of_all_days(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would count more results than it expects between two days that differ."""
    monkeypatch.setattr(difference_search, "MAX_READ", 1)
    first = await database.compute(START, [1.0])
    await database.compute(START + 24 * HOUR, [2.0])
    last = await database.compute(START + 48 * HOUR, [3.0])
    await database.build()
    checkpoint = await database.checkpoints.read()
    assert checkpoint is not None
    for number in range(4):
        await database.compute(START + 24 * HOUR, [float(number)])
    await database.delete(first)
    await database.delete(last)

    hours, stale = await updates(database).compare(checkpoint, await database.firestore.now())

    assert (hours, stale) == (1, set())
    days = await database.rollups.days(EARLIEST, LATEST, await database.firestore.now())
    assert set(days.values()) == {False}
