"""How rollups are built: in which documents, when, and again if they cannot be used."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from storage.documents import document_paths
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.rollups import checkpoint as checkpoint_module
from storage.rollups import day_rollups
from storage.rollups.rollup import EARLIEST, LATEST
from tests.triggers.result_database import SUBMITTER, Killed
from tests.triggers.rollups.conftest import Database, no_pause
from tests.triggers.rollups.summary_check import HOUR, START, by_key, check
from triggers.rollups import rollup_builder, workload


async def test_series_move_to_a_new_document_before_one_gets_too_large(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the process is killed between the writes of both documents, no result is counted twice or lost."""
    monkeypatch.setattr(day_rollups, "MAX_NEW_BYTES", 2_000)
    monkeypatch.setattr(day_rollups, "MAX_BYTES", 4_000)
    sites = [f"site-{number}" for number in range(6)]

    async def documents() -> list[set[str]]:
        """Return the series of each document."""
        query = database.series_rollups._query(START.date(), LATEST, ())
        found = await database.firestore.page(f"submitters/{SUBMITTER}", query)
        assert max(document.ByteSize() for document in found) < 5_000
        return [set(document.fields["hours"].map_value.fields) for document in found]

    for site in sites:
        await database.compute(START, [1.0], {"site": site})
    await database.build()
    assert len(await documents()) == 1

    for site in sites:
        await database.compute(START + HOUR, [float(2**number) for number in range(99)], {"site": site})
    for killed_at in count(1):
        with contextlib.suppress(Killed):
            await database.build(killed_at=killed_at)
            break
        await check(database, EARLIEST, LATEST)
    await check(database, EARLIEST, LATEST)

    moved = await documents()
    assert len(moved) > 1
    assert sorted(each for series in moved for each in series) == [f"site={site}" for site in sites]


async def test_with_too_many_series_summaries_of_series_read_the_results(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the limit is raised later, the rollups of series are built again."""
    for site in "ab":
        await database.compute(START, [ord(site)], {"site": site})
    await database.build()
    monkeypatch.setattr(rollup_builder, "MAX_SERIES", 1)
    await database.build()
    await database.compute(START, [1.0], {"site": "a"})
    await database.build()
    checkpoint = await database.checkpoints.read()
    assert checkpoint is not None
    assert not checkpoint.has_series
    await check(database, EARLIEST, LATEST)

    monkeypatch.undo()
    assert (await database.build()).results == 3
    checkpoint = await database.checkpoints.read()
    assert checkpoint is not None
    assert checkpoint.has_series
    await check(database, EARLIEST, LATEST)


async def test_rollups_of_an_earlier_format_are_built_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then, summaries read the results."""
    await database.compute(START, [1.0], {"site": "a"})
    with monkeypatch.context() as earlier:
        for module in (checkpoint_module, day_rollups):
            earlier.setattr(module, "FORMAT_VERSION", 1)
        await database.build()
    await check(database, EARLIEST, LATEST)

    assert (await database.build()).hours == 1
    assert (await database.build()).hours == 0
    await check(database, EARLIEST, LATEST)


async def test_a_run_without_changes_reads_no_results_and_writes_nothing(database: Database) -> None:
    """So it costs a few reads for each submitter."""
    for number in range(5):
        await database.compute(START + number * HOUR, [1.0])

    first = await database.build()
    await database.build()  # the margin of the commit delay contains the results once more
    checkpoint = await database.checkpoints.read()
    assert checkpoint is not None
    checkpoint = await database.checkpoints.write(database.writer, replace(checkpoint, as_of=checkpoint.as_of + HOUR))
    again = await database.build()

    assert (first.results, first.hours, first.is_finished) == (5, 5, True)
    assert (again.results, again.hours) == (0, 0)
    assert await database.checkpoints.read() == checkpoint


async def test_a_submitter_with_few_results_has_no_rollups(database: Database) -> None:
    """Reading them is fast, and most submitters of a test are such."""
    await database.compute(START, [1.0])

    await database.build(min_results=2)

    assert await database.checkpoints.read() is None
    await check(database, EARLIEST, LATEST)


async def test_rollups_wait_while_many_results_arrive(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not wait forever."""
    await database.compute(START, [1.0])
    monkeypatch.setattr(workload, "MAX_BUSY_RESULTS", 0)
    waiting = await database.build()
    assert (waiting.results, waiting.is_finished) == (0, False)

    monkeypatch.setattr(workload, "MAX_BUSY_TIME", -timedelta(1))
    built = await database.build()

    assert (built.results, built.is_finished) == (1, True)


async def test_two_runs_at_the_same_time_do_not_disturb_each_other(database: Database) -> None:
    """Each may end because the other one was first. No result is added twice."""
    for number in range(20):
        await database.compute(START + number * HOUR / 4, [float(number)])

    for outcome in await asyncio.gather(*(database.build() for _ in range(3)), return_exceptions=True):
        assert not isinstance(outcome, BaseException) or isinstance(outcome, PreconditionFailed)

    await check(database, EARLIEST, LATEST)
    await database.build()
    await check(database, EARLIEST, LATEST)


async def test_rollups_are_built_again_after_too_many_results(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then, summaries read the results."""
    await database.compute(START, [1.0])
    await database.build()
    await database.compute(START, [2.0])
    monkeypatch.setattr(workload, "MAX_CHANGES", 0)

    await database.build()
    monkeypatch.undo()
    await check(database, EARLIEST, LATEST)
    await database.build()

    await check(database, EARLIEST, LATEST)
    assert len(await database.rollups.read(START.date(), START.date(), await database.firestore.now(), no_pause)) == 1


async def test_a_summary_that_starts_when_all_rollups_are_built_again_is_right(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step removes the later hours of a day. The checkpoint of a moment before says that they are covered."""
    await database.compute(START, [1.0])
    await database.compute(START + HOUR, [2.0])
    await database.build()
    monkeypatch.setattr(workload, "MAX_CHANGES", 0)
    monkeypatch.setattr(workload, "MAX_STEP_RESULTS", 1)
    now = Firestore.now

    async def now_after_first_step(firestore: Firestore) -> datetime:
        monkeypatch.setattr(Firestore, "now", now)
        await database.build(seconds=0)
        checkpoint = await database.checkpoints.read()
        assert checkpoint is not None
        assert checkpoint.covered_until == START + HOUR
        return await now(firestore)

    monkeypatch.setattr(Firestore, "now", now_after_first_step)

    await check_total(database)


async def test_results_of_many_distant_days_are_added_together(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of queries does not depend on the distance of the days, and stored days between them are not read."""
    monkeypatch.setattr(rollup_builder, "_MAX_DAYS", 5)
    for number in range(8):
        await database.compute(START + number * 24 * HOUR, [1.0])
    await database.build()
    changes, read = count_calls(database, monkeypatch)
    for number in range(10):
        await database.compute(START + (number - 2) * 51 * 24 * HOUR, [float(number)])

    await database.build()

    assert changes[0] == 2 * database.shards  # one page for each shard to count them by day, and one to add them
    assert read[0] <= 2 * 2 * (10 / 5 + 2)
    await check_total(database)


async def check_total(database: Database) -> None:
    """Compare the summary of all results."""
    assert by_key(await database.summary(EARLIEST, LATEST)) == by_key(database.expected(EARLIEST, LATEST))


def count_calls(database: Database, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """Return the numbers of pages of later results, and of pages of rollups, that are read from now on."""
    changes, read = [0], [0]
    page = Firestore.page

    async def counted(firestore: Firestore, parent: str, query: Any, read_time: datetime | None = None) -> list[Any]:
        if query.from_[0].collection_id != document_paths.RESULTS:
            read[0] += 1
        elif query.order_by[0].field.field_path == "computed_at":
            changes[0] += 1
        return await page(firestore, parent, query, read_time)

    monkeypatch.setattr(Firestore, "page", counted)
    return changes, read
