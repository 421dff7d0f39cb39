"""Summaries from rollups equal those from all results, also after results were changed or removed."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_api.errors import TooComplex
from graphql_api.results import rolled_up_results, summaries
from graphql_api.results.filters import Bound, Selection
from graphql_api.results.summaries import TimeBucket
from storage.documents import labels
from storage.documents.quantile_sketch import encode_values
from storage.rollups import day_rollups, difference_search, rollup_store
from storage.rollups.rollup import EARLIEST, LATEST, Snapshot
from storage.rollups.series import ALL_RESULTS, BY_SERIES
from tests.infra.firestore.server_process import FirestoreProcess
from tests.triggers.result_database import SUBMITTER, Killed
from tests.triggers.rollups.conftest import Database, no_pause
from tests.triggers.rollups.summary_check import HOUR, START, by_key, check
from triggers.rollups import day_updates, rollup_builder, workload

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
        patch.setattr(workload, "MAX_STEP_RESULTS", 3)
        patch.setattr(day_updates, "MAX_RESULTS", 3)
        patch.setattr(workload, "MAX_PART_CHANGES", 2)
        patch.setattr(workload, "MIN_PART_TIME", timedelta(0))
        patch.setattr(rollup_builder, "_MAX_DAYS", 1)
        patch.setattr(difference_search, "MAX_READ", 1)
        patch.setattr(rollup_store, "MAX_BYTES", 2_000)
        patch.setattr(rollup_store, "MAX_BYTES_AT_MIDNIGHT", 1_500)
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


@pytest.mark.parametrize(("operator", "expected"), [("<", 1), ("<=", 2), (">=", 1), (">", 0)])
async def test_the_last_instant_of_the_calendar_can_be_included_or_excluded(
    database: Database, operator: str, expected: int
) -> None:
    """A range cannot end at a later instant."""
    await database.compute(START, [1.0])
    await database.compute(LATEST, [2.0])
    await database.build()
    selected = Selection([Bound("timestamp", operator, LATEST)])

    total, _ = await summaries.summarize(database.store, SUBMITTER, selected, [])
    days = await summaries.summarize_over_time(database.store, SUBMITTER, selected, TimeBucket.DAY, [])

    assert (total.results, sum(each.results for each in days.values())) == (expected, expected)


async def test_too_many_time_buckets_are_rejected(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to correct the query."""
    monkeypatch.setattr(summaries, "MAX_BUCKETS", 3)
    for number in range(4):
        await database.compute(START + number * HOUR / 60, [1.0])

    with pytest.raises(TooComplex, match="more than 3 time buckets; choose a longer `bucket`") as raised:
        await database.buckets(EARLIEST, LATEST, TimeBucket.MINUTE)

    assert raised.value.limit == "max_time_buckets"
    assert len(await database.buckets(EARLIEST, LATEST, TimeBucket.HOUR)) == 1


@pytest.mark.parametrize("is_built", [False, True])
async def test_the_groups_of_a_time_bucket_have_a_maximum_size_in_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, is_built: bool
) -> None:
    """Samples can have thousands of combinations of labels. Earlier buckets do not count, nor do single groups."""
    for number in range(8):
        await database.compute(START + number // 4 * HOUR, [float(number)], {"site": str(number)})
    if is_built:
        await database.build()
    buckets = partial(database.buckets, EARLIEST, LATEST, names=["site"])
    monkeypatch.setattr(summaries, "MAX_BYTES", 5 * len(encode_values([1.0])))

    assert len(await buckets(TimeBucket.HOUR)) == 8
    with pytest.raises(TooComplex) as refused:
        await buckets(TimeBucket.DAY)
    assert len(await database.buckets(EARLIEST, LATEST, TimeBucket.HOUR)) == 2

    assert refused.value.limit == "max_bucket_bytes"
