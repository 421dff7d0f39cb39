"""Summaries from rollups equal those from all results, also after results were changed or removed."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import grpc.aio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_api.errors import TooComplex
from graphql_api.results import rolled_up_results, summaries
from graphql_api.results.summaries import TimeBucket
from storage.documents import labels
from storage.firestore.errors import PreconditionFailed
from storage.rollups import checkpoint as checkpoint_module
from storage.rollups import day_rollups, difference_search, rollup_store
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.rollup import EARLIEST, LATEST, Snapshot
from storage.rollups.series import ALL_RESULTS, BY_SERIES
from tests.infra.firestore.server_process import FirestoreProcess
from tests.triggers.rollups.conftest import SUBMITTER, Database, Killed, figures, no_pause
from triggers.rollups import rollup_builder

START = datetime(2026, 3, 28, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)

moments = st.integers(0, 5 * 4).map(lambda quarter: START + quarter * HOUR / 4)
values = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e300, -1e-300, 5e-324]), min_size=1, max_size=3)
series = st.fixed_dictionaries({}, optional={"site": st.sampled_from(["a", "b=`\\"]), "unit": st.sampled_from("xy")})
operations = st.one_of(
    st.tuples(st.just("compute"), moments, values, series),
    st.tuples(st.just("compute"), moments, values, series),
    st.tuples(st.just("relabel"), series, st.integers(0)),
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
        elif operation == "relabel":
            await database.compute(result.timestamp, [1.0], arguments[0], sample_id)
        elif operation == "recompute":
            await database.compute(result.timestamp, arguments[1], result.labels, sample_id)
        elif operation == "move":
            await database.compute(arguments[0], arguments[1], result.labels, sample_id)
        else:
            await getattr(database, operation)(sample_id)


SELECTIONS: list[tuple[dict[str, str], list[str]]] = [
    ({}, []),
    ({}, ["site"]),
    ({}, ["unit", "site"]),
    ({"site": "a"}, []),
    ({"site": "b=`\\"}, ["unit"]),
    ({"site": "a", "unit": "x"}, []),
]
"""Filters by label, and names of labels by which the results are grouped."""


async def check(database: Database, start: datetime, end: datetime) -> None:
    """Compare the summaries of a range with the results in it, also of some series and of groups."""
    for having, names in SELECTIONS:
        summary = await database.summary(start, end, having, names)
        assert by_key(summary) == by_key(database.expected(start, end, having, names))
        for group, merged in summary.items():
            check_with_numpy(merged, database.values(start, end, having, dict(zip(names, group, strict=True))))
        for bucket in (TimeBucket.HOUR, TimeBucket.DAY):
            length = timedelta(seconds=bucket.value)
            buckets = await database.buckets(start, end, bucket, having, names)
            starts = [bucket_start for bucket_start, _ in buckets]
            assert starts == sorted(starts)
            expected: dict[Any, Any] = {}
            first = bucket.start(START)
            while first < START + 6 * HOUR:
                within = max(start, first), min(end, first + length)
                groups = by_key(database.expected(*within, having, names))
                expected |= {(first, group): each for group, each in groups.items() if each[0]}
                first += length
            assert by_key(buckets) == expected


def check_with_numpy(merged: MergedStatistics, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Compare statistics with those of numpy. Numpy's mean and deviation of huge numbers overflow."""
    assert merged.count == len(values)
    if len(values):
        assert (merged.minimum, merged.maximum) == (values.min(), values.max())
        if abs(values).max() < 1e100:
            assert merged.mean() == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
            assert merged.standard_deviation() == pytest.approx(values.std(), rel=1e-9, abs=1e-6)


def by_key(summaries: Mapping[Any, MergedStatistics]) -> dict[Any, tuple[Any, ...]]:
    """Return all that summaries show."""
    return {key: figures(merged) for key, merged in summaries.items()}


@settings(max_examples=12, deadline=None)
@given(st.lists(operations, max_size=12), moments, moments)
def test_summaries_equal_those_of_all_results(
    indexed_firestore: FirestoreProcess, steps: list[tuple[Any, ...]], start: datetime, end: datetime
) -> None:
    """This holds after any sequence of new, repeated, recomputed, corrected, deleted and expired results and builds.

    Some builds end early, or are killed. The documents of rollups are small, so series move to new ones.
    """

    async def run(database: Database) -> None:
        for operation, *arguments in [*steps, ("build", 60.0, 0), *steps]:
            await apply(database, operation, *arguments)
        await check(database, EARLIEST, LATEST)
        await check(database, start, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup_builder, "MAX_STEP_RESULTS", 3)
        patch.setattr(difference_search, "MAX_READ", 1)
        patch.setattr(rollup_store, "MAX_SNAPSHOTS", 4)
        patch.setattr(day_rollups, "MAX_NEW_BYTES", 400)
        patch.setattr(day_rollups, "MAX_BYTES", 800)
        for module in (rollup_builder, rolled_up_results):
            patch.setattr(module, "BY_SERIES", replace(BY_SERIES, batch_size=1))
        with_database(indexed_firestore, run)


def with_database(firestore: FirestoreProcess, run: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine with an empty database."""

    async def connected() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{firestore.port}") as channel:
            await run(Database(channel))

    asyncio.run(connected())


async def test_summaries_are_read_from_rollups(database: Database) -> None:
    """A changed rollup changes the answer, as long as no result of its hour changes."""
    site = {"site": "a"}
    sample_id = await database.compute(START, [1.0], site)
    await database.compute(START + HOUR, [2.0], site)
    await database.compute(START + HOUR, [9.0], {"site": "b"})
    await database.build()
    for store, series, maximum in ((database.rollups, ALL_RESULTS, 50.0), (database.series_rollups, "site=a", 5.0)):
        [day] = (await store.read(START.date(), START.date(), await database.firestore.now(), no_pause)).values()
        statistics = day.rollups[series].hours[START].statistics()
        statistics.maximum = maximum
        day.put(START, series, Snapshot.of(day.rollups[series].hours[START].as_of, statistics))
        await store.write(database.writer, [day], no_pause)

    async def maxima(start: datetime, end: datetime) -> list[float]:
        """Return the maxima of all results, of one site, and of each site."""
        summaries = [await database.summary(start, end, having) for having in ({}, site)]
        groups = await database.summary(start, end, {}, ["site"])
        assert [merged.maximum for _, merged in sorted(groups.items())][1:] == [9.0]
        return [*(each[()].maximum for each in summaries), groups["a",].maximum]

    assert await maxima(EARLIEST, LATEST) == [50.0, 5.0, 5.0]
    assert await maxima(START, START + 2 * HOUR) == [50.0, 5.0, 5.0]
    assert await maxima(START + HOUR / 60, LATEST) == [9.0, 2.0, 2.0]
    for having, expected in (({}, [50.0, 9.0]), (site, [5.0, 2.0])):
        buckets = await database.buckets(EARLIEST, LATEST, TimeBucket.HOUR, having)
        assert [merged.maximum for merged in buckets.values()] == expected

    await database.compute(START, [0.5], site, sample_id)
    await check(database, EARLIEST, LATEST)
    await database.build()
    await check(database, EARLIEST, LATEST)


async def test_a_summary_of_a_few_series_reads_only_these(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document has all series of a day. With many selected series, all are read."""
    for site in "abc":
        for unit in ("x", "y"):
            await database.compute(START, [ord(site)], {"site": site, "unit": unit})
    await database.build()
    read: list[set[str]] = []
    page = database.firestore.page

    async def recorded(parent: str, query: Any, read_time: datetime | None = None) -> list[Any]:
        documents = await page(parent, query, read_time)
        if query.from_[0].collection_id == database.series_rollups.kind.collection:
            read.extend(set(document.fields["totals"].map_value.fields) for document in documents)
        return documents

    monkeypatch.setattr(database.firestore, "page", recorded)
    summary = database.summary(EARLIEST, LATEST, {"site": "b"}, ["unit"])

    assert by_key(await summary) == by_key(database.expected(EARLIEST, LATEST, {"site": "b"}, ["unit"]))
    assert read == [{labels.term({"site": "b", "unit": unit}) for unit in ("x", "y")}]

    read.clear()
    monkeypatch.setattr(rollup_store, "MAX_SELECTED_SERIES", 1)
    summary = database.summary(EARLIEST, LATEST, {"site": "b"}, ["unit"])

    assert by_key(await summary) == by_key(database.expected(EARLIEST, LATEST, {"site": "b"}, ["unit"]))
    assert [len(series) for series in read] == [6]


async def test_the_total_of_a_day_is_not_used_if_it_may_lack_a_result(database: Database) -> None:
    """It has the time of its latest hour, and another hour can be older.

    Here, a new result that is missing and a deleted one that is not would leave the number of results as it was.
    """
    deleted = await database.compute(START, [1.0])
    await database.compute(START + HOUR, [2.0])
    await database.build()
    await database.compute(START + HOUR, [3.0])
    now = await database.firestore.now()
    [day] = (await database.rollups.read(START.date(), START.date(), now, no_pause)).values()
    statistics = day.rollups[ALL_RESULTS].hours[START].statistics()
    day.put(START, ALL_RESULTS, Snapshot.of(now, statistics))  # as if the hour was stale before
    await database.rollups.write(database.writer, [day], no_pause)
    await database.delete(deleted)

    await check(database, EARLIEST, LATEST)


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
    assert len(await database.rollups.read(START.date(), START.date(), await database.firestore.now(), no_pause)) == 1


async def test_too_many_time_buckets_are_rejected(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to correct the query."""
    monkeypatch.setattr(summaries, "MAX_BUCKETS", 3)
    for number in range(4):
        await database.compute(START + number * HOUR / 60, [1.0])

    with pytest.raises(TooComplex, match="more than 3 time buckets; choose a longer `bucket`") as raised:
        await database.buckets(EARLIEST, LATEST, TimeBucket.MINUTE)

    assert raised.value.limit == "max_time_buckets"
    assert len(await database.buckets(EARLIEST, LATEST, TimeBucket.HOUR)) == 1
