"""Summaries from rollups equal those from all results, also after results were changed or removed."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_api.errors import TooComplex
from graphql_api.results import summaries
from graphql_api.results.summaries import TimeBucket
from storage.firestore.errors import PreconditionFailed
from storage.rollups import difference_search
from storage.rollups.rollup import EARLIEST, LATEST, RollupHour
from tests.infra.firestore.server_process import FirestoreProcess
from tests.triggers.rollups.conftest import Database, Killed, figures, no_pause
from triggers.rollups import rollup_builder

START = datetime(2026, 3, 28, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)

moments = st.integers(0, 5 * 4).map(lambda quarter: START + quarter * HOUR / 4)
values = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e300, -1e-300, 5e-324]), min_size=1, max_size=3)
operations = st.one_of(
    st.tuples(st.just("compute"), moments, values),
    st.tuples(st.just("compute"), moments, values),
    st.tuples(st.sampled_from(["recompute", "move"]), moments, values, st.integers(0)),
    st.tuples(st.sampled_from(["repeat", "supersede", "delete", "expire"]), st.integers(0)),
    st.tuples(st.just("build"), st.sampled_from([0.0, 60.0]), st.integers(0, 8)),
)


async def apply(database: Database, operation: str, *arguments: Any) -> None:
    """Change a result, or build the rollups."""
    if operation == "build":
        with contextlib.suppress(Killed):
            await database.build(seconds=arguments[0], killed_at=arguments[1])
    elif operation == "compute":
        await database.compute(*arguments)
    elif database.results:
        sample_id = sorted(database.results)[arguments[-1] % len(database.results)]
        result = database.results[sample_id]
        assert result.timestamp is not None
        if operation == "repeat":
            await database.write({sample_id: result})
        elif operation == "recompute":
            await database.compute(result.timestamp, arguments[1], sample_id)
        elif operation == "move":
            await database.compute(arguments[0], arguments[1], sample_id)
        else:
            await getattr(database, operation)(sample_id)


async def check(database: Database, start: datetime, end: datetime) -> None:
    """Compare the summaries of a range with the results in it."""
    assert figures(await database.summary(start, end)) == figures(database.expected(start, end))
    for bucket in (TimeBucket.HOUR, TimeBucket.DAY):
        length = timedelta(seconds=bucket.value)
        for bucket_start, merged in (await database.buckets(start, end, bucket)).items():
            first, last = max(start, bucket_start), min(end, bucket_start + length)
            assert figures(merged) == figures(database.expected(first, last))


@settings(max_examples=12, deadline=None)
@given(st.lists(operations, max_size=12), moments, moments)
def test_summaries_equal_those_of_all_results(
    indexed_firestore: FirestoreProcess, steps: list[tuple[Any, ...]], start: datetime, end: datetime
) -> None:
    """This holds after any sequence of new, repeated, recomputed, corrected, deleted and expired results and builds.

    Some builds end early, or are killed.
    """

    async def run(database: Database) -> None:
        for operation, *arguments in [*steps, ("build", 60.0, 0), *steps]:
            await apply(database, operation, *arguments)
        await check(database, EARLIEST, LATEST)
        await check(database, start, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup_builder, "MAX_STEP_RESULTS", 3)
        patch.setattr(difference_search, "MAX_READ", 1)
        with_database(indexed_firestore, run)


def with_database(firestore: FirestoreProcess, run: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine with an empty database."""

    async def connected() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{firestore.port}") as channel:
            await run(Database(channel))

    asyncio.run(connected())


async def test_summaries_are_read_from_rollups(database: Database) -> None:
    """A changed rollup changes the answer, as long as no result of its hour changes."""
    sample_id = await database.compute(START, [1.0])
    await database.compute(START + HOUR, [2.0])
    await database.build()
    [rollup] = await database.rollups.between(START, START + 2 * HOUR, await database.firestore.now(), no_pause)
    statistics = rollup.hours[START].statistics
    assert statistics is not None
    statistics.maximum = 5.0
    await database.rollups.write(database.writer, [rollup])

    assert (await database.summary(EARLIEST, LATEST)).maximum == 5.0
    assert (await database.summary(START + HOUR / 60, LATEST)).maximum == 2.0

    await database.compute(START, [0.5], sample_id)
    await check(database, EARLIEST, LATEST)
    await database.build()
    await check(database, EARLIEST, LATEST)


async def test_a_run_without_changes_reads_no_results_and_writes_nothing(database: Database) -> None:
    """So it costs a few reads for each submitter."""
    for number in range(5):
        await database.compute(START + number * HOUR, [1.0])

    first = await database.build()
    await database.build()  # the margin of the commit delay contains the results once more
    checkpoint = await database.rollups.checkpoint()
    assert checkpoint is not None
    checkpoint = await database.rollups.write_checkpoint(
        database.writer, replace(checkpoint, as_of=checkpoint.as_of + HOUR)
    )
    again = await database.build()

    assert (first.results, first.hours, first.is_finished) == (5, 5, True)
    assert (again.results, again.hours) == (0, 0)
    assert await database.rollups.checkpoint() == checkpoint


async def test_a_submitter_with_few_results_has_no_rollups(database: Database) -> None:
    """Reading them is fast, and most submitters of a test are such."""
    await database.compute(START, [1.0])

    await database.build(min_results=2)

    assert await database.rollups.checkpoint() is None
    await check(database, EARLIEST, LATEST)


async def test_rollups_wait_while_many_results_arrive(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not wait for ever."""
    await database.compute(START, [1.0])
    monkeypatch.setattr(rollup_builder, "MAX_BUSY_RESULTS", 0)
    waiting = await database.build()
    assert (waiting.results, waiting.is_finished) == (0, False)

    monkeypatch.setattr(rollup_builder, "MAX_BUSY_TIME", -timedelta(1))
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
    monkeypatch.setattr(rollup_builder, "MAX_CHANGES", 0)

    await database.build()
    monkeypatch.undo()
    await check(database, EARLIEST, LATEST)
    await database.build()

    await check(database, EARLIEST, LATEST)
    [rollup] = await database.rollups.between(START, START + HOUR, await database.firestore.now(), no_pause)
    assert isinstance(rollup.hours[START], RollupHour)


async def test_too_many_time_buckets_are_rejected(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to correct the query."""
    monkeypatch.setattr(summaries, "MAX_BUCKETS", 3)
    for number in range(4):
        await database.compute(START + number * HOUR / 60, [1.0])

    with pytest.raises(TooComplex, match="more than 3 time buckets; choose a longer `bucket`") as raised:
        await database.buckets(EARLIEST, LATEST, TimeBucket.MINUTE)

    assert raised.value.limit == "max_time_buckets"
    assert len(await database.buckets(EARLIEST, LATEST, TimeBucket.HOUR)) == 1
