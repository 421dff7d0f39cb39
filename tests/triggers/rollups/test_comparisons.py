"""When the rollups are compared with the number of results: if results were removed, and once a day."""

from dataclasses import replace
from datetime import datetime

import pytest

from storage.rollups.rollup import EARLIEST, LATEST
from tests.triggers.rollups.conftest import Database, no_pause
from tests.triggers.rollups.summary_check import HOUR, START, by_key, check


async def compared_at(database: Database) -> datetime:
    """Return the time of the last comparison."""
    checkpoint = await database.checkpoints.read()
    assert checkpoint is not None
    assert checkpoint.compared_at is not None
    return checkpoint.compared_at


async def test_a_new_result_causes_no_comparison_even_if_it_failed(database: Database) -> None:
    """A comparison reads all rollups, and no rollup contains a failed result."""
    await database.compute(START, [1.0])
    await database.build()
    before = await compared_at(database)

    for _ in range(3):
        await database.fail()
    await database.compute(START + HOUR, [2.0])
    await database.build()

    assert await compared_at(database) == before


@pytest.mark.parametrize("changes", [["fail"], ["supersede"], ["delete"], ["delete", "fail"]])
async def test_the_rollups_are_compared_after_a_result_was_replaced(database: Database, changes: list[str]) -> None:
    """Among the changed results, there is none with the time stamp of the replaced result."""
    sample_id = await database.compute(START, [1.0])
    await database.compute(START, [2.0])
    await database.build()
    before = await compared_at(database)

    await database.fail()
    for change in changes:
        await getattr(database, change)(sample_id)
    built = await database.build()

    assert await compared_at(database) > before
    assert built.hours == 1
    await check(database, EARLIEST, LATEST)


async def test_the_last_day_of_the_calendar_is_computed_again_and_compared(database: Database) -> None:
    """No day follows after its stale hours, so the next comparison does not wait for any."""
    last = LATEST.replace(hour=5)
    replaced = await database.compute(last, [1.0])
    expired = [await database.compute(last.replace(hour=hour), [2.0]) for hour in (6, 23)]
    await database.build()
    before = await compared_at(database)

    await database.compute(last, [3.0], sample_id=replaced)
    await database.build()
    checkpoint = await database.checkpoints.read()
    assert checkpoint is not None
    assert checkpoint.stale_from is None

    for sample_id in expired:
        await database.expire(sample_id)
    without_changes = replace(checkpoint, as_of=checkpoint.as_of + HOUR, compared_at=None)
    await database.checkpoints.write(database.writer, without_changes)
    await database.build()

    assert await compared_at(database) > before
    days = await database.rollups.read(last.date(), last.date(), await database.firestore.now(), no_pause)
    assert [hour for (hour, _), _ in days[last.date()].hours()] == [last.replace(minute=0, second=0, microsecond=0)]
    assert by_key(await database.summary(EARLIEST, LATEST)) == by_key(database.expected(EARLIEST, LATEST))
