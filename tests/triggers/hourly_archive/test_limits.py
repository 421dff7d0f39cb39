"""A run of the archiver has a deadline, and its Commits have a limited size."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.triggers.hourly_archive.conftest import Database
from tests.triggers.hourly_archive.summary_check import HOUR, START, check
from triggers.hourly_archive import archiver, due_results


async def test_a_commit_that_would_be_too_large_is_divided(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Firestore refuses a Commit above 10 MiB. One has at least the results of one series of a day."""
    monkeypatch.setattr(archiver, "MAX_BYTES", 1)
    database.shards = 1  # the archiver reads one shard after the other
    for number in range(8):
        await database.compute(START, [float(number)], {"site": str(number // 2)})
    commit, sizes = database.firestore.commit, []

    async def measured(writes: Sequence[Any]) -> None:
        sizes.append(sum(1 for write in writes if write.delete))
        await commit(writes)

    monkeypatch.setattr(database.firestore, "commit", measured)

    assert await database.move() == 8
    assert max(sizes) == 2
    await check(database, START, START + HOUR)


async def test_a_run_ends_at_its_deadline(database: Database) -> None:
    """The next run continues."""
    await database.compute(START, [1.0])
    late = database.archiver(seconds=0)

    await late.run()

    assert (late.moved, late.is_finished) == (0, False)
    assert await database.move() == 1


async def test_a_run_ends_at_its_deadline_although_no_result_can_be_moved(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of many expired results is read with its sample, which Firestore deletes within a day."""
    monkeypatch.setattr(due_results, "_BATCH_SIZE", 1)
    for _ in range(3):
        await database.store_sample(await database.compute(START, [1.0]))
    late = database.archiver(seconds=0)
    pages = []
    page = database.firestore.page

    async def counted(*arguments: Any) -> list[Any]:
        pages.append(arguments)
        return await page(*arguments)

    monkeypatch.setattr(database.firestore, "page", counted)

    await late.run()

    assert not late.is_finished
    assert len(pages) == 1
