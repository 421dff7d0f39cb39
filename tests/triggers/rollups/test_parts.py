"""Many results after the checkpoint are added in parts, so that a run ends in time and the next run continues."""

from datetime import timedelta
from itertools import pairwise

import pytest

from storage.rollups.checkpoint import Checkpoint
from storage.rollups.rollup import EARLIEST, LATEST
from storage.rollups.series import ALL_RESULTS
from tests.triggers.rollups.conftest import Database, no_pause
from tests.triggers.rollups.summary_check import HOUR, START, check
from triggers.rollups import day_updates, rollup_builder, workload


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a part have few results, and read none of them again."""
    monkeypatch.setattr(workload, "MAX_PART_CHANGES", 2)
    monkeypatch.setattr(workload, "MIN_PART_TIME", timedelta(0))
    monkeypatch.setattr(rollup_builder, "READ_MARGIN", timedelta(0))
    monkeypatch.setattr(day_updates, "READ_MARGIN", timedelta(0))


async def read_checkpoint(database: Database) -> Checkpoint:
    """Return the checkpoint of the submitter."""
    checkpoint = await database.checkpoints.read()
    assert checkpoint is not None
    return checkpoint


async def results_of_the_first_hour(database: Database) -> int:
    """Return the number of results in the rollup of the first hour."""
    days = await database.rollups.read(START.date(), START.date(), await database.firestore.now(), no_pause)
    return days[START.date()].rollups[ALL_RESULTS].hours[START].results


async def test_a_run_can_end_between_two_parts_of_an_hour(database: Database) -> None:
    """Each result is added once, and the next run continues after the results that were added."""
    await database.compute(START, [1.0], {"site": "a"})
    await database.build()
    for number in range(7):
        await database.compute(START, [float(number)], {"site": "ab"[number % 2]})

    added, checkpoints, is_finished = [1], [await read_checkpoint(database)], False
    while not is_finished:
        is_finished = (await database.build(seconds=0.0)).is_finished
        added.append(await results_of_the_first_hour(database))
        checkpoints.append(await read_checkpoint(database))
        await check(database, EARLIEST, LATEST)

    assert added[-1] == 8
    assert all(0 <= later - earlier <= 2 for earlier, later in pairwise(added))
    assert all(earlier.as_of < later.as_of for earlier, later in pairwise(checkpoints))


@pytest.mark.parametrize("seconds", [60.0, 0.0])
async def test_replaced_results_of_earlier_parts_are_found_after_the_last_part(
    database: Database, seconds: float
) -> None:
    """Only the last part can be compared with counts. If a run ends before it, all rollups are compared."""
    replaced = await database.compute(START, [1.0])
    await database.build()
    compared_at = (await read_checkpoint(database)).compared_at
    await database.compute(START, [2.0], sample_id=replaced)
    for number in range(5):
        await database.compute(START + 5 * HOUR, [float(number)])

    while not (await database.build(seconds=seconds)).is_finished:
        pass

    assert await results_of_the_first_hour(database) == 1
    assert ((await read_checkpoint(database)).compared_at == compared_at) is (seconds > 0)
    await check(database, EARLIEST, LATEST)


async def test_results_that_arrive_fast_do_not_stop_the_build_of_the_rollups(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollups are built again only if half of all results are new, so each run makes progress."""
    monkeypatch.setattr(workload, "MAX_CHANGES", 1)
    monkeypatch.setattr(workload, "MAX_STEP_RESULTS", 0)
    for number in range(8):
        await database.compute(START + number * HOUR, [1.0])

    covered = [EARLIEST]
    for number in range(3):
        await database.build(seconds=0.0)
        covered.append((await read_checkpoint(database)).covered_until)
        for _ in range(2):
            await database.compute(START, [float(number)])

    assert all(earlier < later for earlier, later in pairwise(covered))
