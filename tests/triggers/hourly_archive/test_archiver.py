"""Each result counts once: in `results`, or after it has expired in the hourly archive."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from graphql_api.results.summaries import summarize
from storage.documents import Archiving, Arrival, Status, document_paths
from tests.infra.firestore.server_process import FirestoreProcess
from tests.stack import PATIENCE_SECONDS
from tests.triggers.hourly_archive.conftest import TOMORROW, YESTERDAY, Database, FirestoreProxy
from tests.triggers.hourly_archive.summary_check import HOUR, SERIES, START, check
from tests.triggers.result_database import SUBMITTER, Killed, selection
from tests.triggers.rollups.conftest import figures
from triggers.hourly_archive import archiver, due_results
from triggers.result_store import ResultStore

moments = st.integers(0, 5 * 4).map(lambda quarter: START + quarter * HOUR / 4)
hours = st.integers(0, 5).map(lambda hour: START + hour * HOUR)
values = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e300, -1e-300, 5e-324]), min_size=1, max_size=3)
computations = st.tuples(st.just("compute"), moments, values, st.sampled_from(SERIES), st.booleans())
operations = st.one_of(
    computations,
    computations,
    st.tuples(st.just("move")),
    st.tuples(st.just("move twice at once")),
    st.tuples(st.just("kill"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("build")),
)


async def apply(database: Database, operation: str, *arguments: Any) -> None:
    """Store a result, move results, or build the rollups."""
    if operation == "compute":
        timestamp, data, series, is_due = arguments
        await database.compute(timestamp, data, series, expire_at=YESTERDAY if is_due else TOMORROW)
    elif operation == "move":
        await database.move()
    elif operation == "move twice at once":
        await asyncio.gather(database.move(), database.move())
    elif operation == "kill":
        with contextlib.suppress(Killed):
            await database.killed(after=arguments[0], is_applied=arguments[1])
    else:
        await database.build()


def with_database(firestore: FirestoreProcess, run: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine with an empty database."""

    async def connected() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{firestore.port}") as channel:
            await run(Database(channel))

    asyncio.run(connected())


@settings(max_examples=12, deadline=None)
@given(st.lists(operations, min_size=1, max_size=12), hours, hours)
def test_each_result_counts_once(
    indexed_firestore: FirestoreProcess, steps: list[tuple[Any, ...]], start: datetime, end: datetime
) -> None:
    """This holds before and after any moves, also of two instances at once, and if one is killed in a Commit."""

    async def run(database: Database) -> None:
        for operation, *arguments in [*steps, ("move",), *steps]:
            await apply(database, operation, *arguments)
        await check(database, START - HOUR, START + 10 * HOUR)
        await check(database, start, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archiver, "MAX_RESULTS", 2)
        patch.setattr(due_results, "_BATCH_SIZE", 3)
        with_database(indexed_firestore, run)


@pytest.mark.parametrize("is_applied", [False, True])
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_kill_in_any_commit_loses_and_doubles_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, after: int, is_applied: bool
) -> None:
    """The next run continues with what was not applied. Each Commit moves two results, in two days."""
    monkeypatch.setattr(archiver, "MAX_RESULTS", 2)
    database.shards = 1
    for number in range(6):
        await database.compute(START + number * HOUR / 2, [float(number)], SERIES[1])

    with pytest.raises(Killed):
        await database.killed(after=after, is_applied=is_applied)

    assert len(await database.stored()) == 6 - 2 * (after + is_applied)
    await check(database, START, START + 10 * HOUR)
    assert await database.move() == 6 - 2 * (after + is_applied)
    assert await database.stored() == set()
    await check(database, START, START + 10 * HOUR)


async def test_several_instances_at_once_move_each_result_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that was second leaves the rest to the next run, and says so."""
    monkeypatch.setattr(archiver, "MAX_RESULTS", 2)
    for number in range(12):
        await database.compute(START + number * HOUR / 4, [float(number)])

    instances = [database.archiver() for _ in range(3)]
    await asyncio.gather(*(each.run() for each in instances))
    rest = await database.move()

    assert sum(each.moved for each in instances) + rest == 12
    assert rest == 0 or not all(each.is_finished for each in instances)
    assert await database.stored() == set()
    await check(database, START, START + 10 * HOUR)


@pytest.mark.parametrize("is_first_of_its_day", [False, True])
async def test_two_instances_with_different_results_of_a_day_do_not_overwrite_each_other(
    database: Database, is_first_of_its_day: bool
) -> None:
    """The second one has read the archive before the first one has written it."""
    if not is_first_of_its_day:
        await database.compute(START, [7.0])
        await database.move()
    for number in range(2):
        await database.compute(START, [float(number)])
    documents = [document async for batch in database.archiver()._due.batches() for document in batch]
    first, second = database.archiver(), database.archiver()
    groups = [await each._groups([document]) for each, document in zip((first, second), documents, strict=True)]

    class Slow(FirestoreProxy):
        async def commit(self, writes: Sequence[Any]) -> None:
            await first._move(groups[0])
            await self.firestore.commit(writes)

    second._firestore = Slow(database.firestore)  # type: ignore[assignment]
    await second._move(groups[1])

    assert (first.moved, second.moved, second.is_finished) == (1, 0, False)
    await check(database, START, START + HOUR)
    assert await database.move() == 1
    await check(database, START, START + HOUR)


async def test_a_result_waits_for_the_end_of_its_sample(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample could be computed again, also by an attempt that has read it shortly before its deletion."""
    waiting, _ = [await database.compute(START, [float(number)]) for number in range(2)]
    await database.store_sample(waiting)

    assert await database.move() == 1
    assert await database.stored() == {waiting}
    monkeypatch.setattr(archiver, "MAX_WAIT", timedelta(hours=1))
    with caplog.at_level(logging.WARNING):
        await database.move()
    assert "Firestore has not deleted its sample" in caplog.text

    existed_at = await database.firestore.now()
    await database.delete_sample(waiting)
    early = database.archiver(settled_at=existed_at)
    await early.run()
    assert (early.moved, await database.stored()) == (0, {waiting})
    assert await database.move() == 1
    await check(database, START, START + HOUR)


async def test_a_suspended_function_does_not_write_a_result_that_was_archived(database: Database) -> None:
    """It has computed the sample before Firestore deleted it. The result of an existing sample is written."""
    results = ResultStore(database.firestore, database.writer)
    archived = database.results[await database.compute(START, [1.0])]
    existing = replace(archived, sample_id=str(uuid.uuid4()))
    await database.store_sample(existing.sample_id)
    header = await database.sample(existing.sample_id)
    assert await database.move() == 1

    assert not await results.write(archived)
    assert await results.write(existing)

    assert await database.stored() == set()
    assert await database.sample(existing.sample_id) == header
    database.results[existing.sample_id] = existing
    await check(database, START, START + HOUR)


async def test_a_result_does_not_wait_for_a_rejected_sample(database: Database) -> None:
    """The later sample has the idempotency key of the expired sample. The function never computes it."""
    sample_id = await database.compute(START, [1.0])
    await database.put(document_paths.sample(SUBMITTER, sample_id), {"state_on_arrival": Arrival.REJECTED.value})

    assert await database.move() == 1
    assert await database.stored() == set()
    await check(database, START, START + HOUR)


async def test_only_results_that_have_expired_are_moved(database: Database) -> None:
    """A result without an archive has `expire_at`, which is the time to live of Firestore, and stays until then."""
    later = await database.compute(START, [1.0], expire_at=TOMORROW)
    without = await database.compute(START, [2.0], expire_at=TOMORROW, archiving=None)
    moved = await database.compute(START, [3.0])

    assert await database.move() == 1
    assert await database.stored() == {later, without}
    fields = {
        sample_id: set(
            (await database.firestore.batch_get([path := document_paths.result(SUBMITTER, sample_id)]))[path].fields
        )
        for sample_id in (later, without)
    }
    assert fields[later] & {"expire_at", "archive_at"} == {"archive_at"}
    assert fields[without] & {"expire_at", "archive_at"} == {"expire_at"}
    assert moved not in await database.stored()


async def test_a_result_that_changes_during_a_move_is_not_archived(database: Database) -> None:
    """A Commit requires that the results are as they were read. The next run moves the changed one."""
    sample_id = await database.compute(START, [1.0])
    other = database.archiver()
    [batch] = [batch async for batch in other._due.batches() if batch]
    groups = await other._groups(batch)
    await database.compute(START, [2.0], sample_id=sample_id)

    await other._move(groups)

    assert (other.moved, other.is_finished) == (0, False)
    await check(database, START, START + HOUR)
    assert await database.move() == 1
    await check(database, START, START + HOUR)


async def test_corrected_and_failed_results_are_never_archived(database: Database) -> None:
    """They are in no summary. Firestore deletes them when they expire."""
    sample_id = await database.compute(START, [1.0])
    superseded = replace(database.results.pop(sample_id), status=Status.SUPERSEDED, superseded_by=sample_id)
    fields = superseded.fields()
    await database.put(document_paths.result(SUBMITTER, sample_id), fields)

    assert await database.move() == 0
    assert "expire_at" in fields
    assert "archive_at" not in fields


async def test_the_archive_is_kept_as_long_as_its_latest_result(database: Database) -> None:
    """Of a day, and of each series of a day. None: forever."""
    sooner, later = TOMORROW, TOMORROW + timedelta(days=1)
    day = START.date()
    for archiving, series, expected in (
        (Archiving(sooner), SERIES[1], [sooner, sooner, None]),
        (Archiving(later), SERIES[2], [later, sooner, later]),
        (Archiving(sooner), SERIES[2], [later, sooner, later]),
        (Archiving(), SERIES[1], [None, None, later]),
        (Archiving(sooner), SERIES[1], [None, None, later]),
    ):
        await database.compute(START, [1.0], series, archiving=archiving)
        await database.move()
        days = await database.archive.read([(day, None), (day, SERIES[1]), (day, SERIES[2])])
        assert [each.expire_at for each in days] == expected


async def test_firestore_deletes_the_archive_after_its_retention(database: Database) -> None:
    """As the published indexes say."""
    await database.compute(START, [1.0], SERIES[1], archiving=Archiving(YESTERDAY))
    await database.compute(START + 3 * HOUR, [1.0], SERIES[1])
    assert await database.move() == 2

    for names in ([], ["site"]):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (merged := (await summarize(database.store, SUBMITTER, selection(), names))[0]).results == 2:
                pass  # a query takes longer than a pause
        assert figures(merged) == figures(database.expected(START + HOUR))
