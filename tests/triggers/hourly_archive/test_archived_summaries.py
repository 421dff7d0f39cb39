"""Summaries add archived results to those that are stored."""

from datetime import UTC, datetime

import pytest

from graphql_api.errors import TooComplex
from graphql_api.results import archived_results, summaries
from graphql_api.results.filters import Bound, Selection
from graphql_api.results.rolled_up_results import RollupView
from graphql_api.results.summaries import TimeBucket, summarize, summarize_over_time
from tests.triggers.hourly_archive.conftest import TOMORROW, YESTERDAY, Database
from tests.triggers.hourly_archive.summary_check import HOUR, SERIES, START, check
from tests.triggers.result_database import SUBMITTER, selection


@pytest.mark.parametrize("names", [[], ["site"]])
@pytest.mark.parametrize("bucket", [None, TimeBucket.HOUR, TimeBucket.DAY])
@pytest.mark.parametrize("has_rollups", [False, True])
async def test_results_that_move_during_a_summary_count_once(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    bucket: TimeBucket | None,
    has_rollups: bool,
) -> None:
    """Results and archive are read as of the same time, here before the move."""
    for number in range(4):
        await database.compute(START + number * HOUR, [float(number)], SERIES[number % 2])
    if has_rollups:
        await database.build()
    rolled_up = database.store.rolled_up_results
    view = rolled_up.view

    async def view_before_a_move(submitter: str) -> RollupView:
        found = await view(submitter)
        assert await database.move() == 4
        return found

    monkeypatch.setattr(rolled_up, "view", view_before_a_move)

    if bucket is None:
        merged, _ = await summarize(database.store, SUBMITTER, selection(), names)
        assert (merged.results, merged.archived_results) == (4, 0)
    else:
        buckets = await summarize_over_time(database.store, SUBMITTER, selection(), bucket, names)
        assert sum(each.results for each in buckets.values()) == 4
        assert sum(each.archived_results or 0 for each in buckets.values()) == 0
    monkeypatch.undo()
    await check(database, START, START + 10 * HOUR)


@pytest.mark.parametrize("has_rollups", [False, True])
async def test_archived_and_stored_results_alternate_in_the_order_of_time(
    database: Database, has_rollups: bool
) -> None:
    """In the same hour, and in different hours of two days."""
    for number in range(12):
        expire_at = YESTERDAY if number % 3 else TOMORROW
        await database.compute(START + number * HOUR / 2, [float(number)], SERIES[number % 2], expire_at=expire_at)
    if has_rollups:
        await database.build()

    assert await database.move() == 8

    await check(database, START, START + 10 * HOUR)
    if has_rollups:
        await database.build()
        await check(database, START + HOUR, START + 5 * HOUR)


async def test_an_hour_counts_if_it_lies_in_the_range_as_a_whole(database: Database) -> None:
    """`archived_results` says how many results of the archive an answer has, and None that it cannot have any."""
    await database.compute(START + HOUR / 2, [1.0], SERIES[1])
    await database.compute(START + HOUR / 2, [2.0], SERIES[1], expire_at=TOMORROW)
    await database.move()

    async def counts(where: Selection) -> tuple[int, int | None]:
        merged, _ = await summarize(database.store, SUBMITTER, where)
        return merged.results, merged.archived_results

    assert await counts(selection(START, START + HOUR)) == (2, 1)
    assert await counts(selection(START + HOUR / 4, START + HOUR)) == (1, 0)
    assert await counts(selection(START, START + HOUR * 3 / 4)) == (1, 0)
    assert await counts(selection()) == (2, 1)
    assert await counts(Selection([Bound("timestamp", ">=", START)], SERIES[1])) == (2, 1)
    assert await counts(Selection([Bound("mean", ">", 0.0)])) == (1, None)
    for bucket, expected in ((TimeBucket.MINUTE, (1, None)), (TimeBucket.HOUR, (2, 1))):
        [(_, merged)] = (await summarize_over_time(database.store, SUBMITTER, selection(), bucket)).items()
        assert (merged.results, merged.archived_results) == expected


async def test_results_of_the_first_and_the_last_hour_are_archived(database: Database) -> None:
    """The time stamps of the years 1 and 9999."""
    for timestamp in (datetime.min, datetime.max):
        await database.compute(timestamp.replace(tzinfo=UTC), [1.0])

    assert await database.move() == 2

    merged, _ = await summarize(database.store, SUBMITTER, Selection())
    assert (merged.results, merged.archived_results) == (2, 2)


async def test_too_many_groups_of_the_archive_are_rejected(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of results are."""
    monkeypatch.setattr(summaries, "MAX_GROUPS", 2)
    for number in range(3):
        await database.compute(START, [1.0], {"site": str(number)})
    await database.move()

    with pytest.raises(TooComplex, match="more than"):
        await summarize(database.store, SUBMITTER, selection(), ["site"])


async def test_a_day_of_the_archive_has_a_maximum_size_in_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of series can have sketches in each hour of a day. Some hours of the day can still be read."""
    for number in range(8):
        await database.compute(START + number * HOUR, [float(number)], SERIES[number % 2])
    assert await database.move() == 8
    monkeypatch.setattr(archived_results, "MAX_BYTES", 4_000)

    with pytest.raises(TooComplex) as refused:
        await summarize_over_time(database.store, SUBMITTER, selection(), TimeBucket.HOUR, ["site"])
    bounds = [Bound("timestamp", ">=", START), Bound("timestamp", "<", START + 2 * HOUR)]
    some = await summarize_over_time(database.store, SUBMITTER, Selection(bounds), TimeBucket.HOUR, ["site"])

    assert refused.value.limit == "max_archive_bytes"
    assert [each.archived_results for each in some.values()] == [1, 1]
