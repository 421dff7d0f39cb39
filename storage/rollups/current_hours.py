"""The hours of a submitter as of a read time, from its rollups and the results that were written since."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from storage.firestore import encoding
from storage.rollups.difference_search import Span, find_differences
from storage.rollups.merged_statistics import MergedStatistics
from storage.rollups.result_queries import ResultQueries, add_result, timestamp_of
from storage.rollups.rollup import Checkpoint, Rollup, RollupHour, hour_of, next_hour

MAX_COMMIT_DELAY = timedelta(seconds=5)
"""The maximum difference between a commit and the older server time in its documents."""

Pause = Callable[[], Awaitable[None]]
"""Lets other work run, if enough was done since the last pause."""


@dataclass(frozen=True, slots=True)
class CurrentHours:
    """The statistics of hours by their start, and the starts of the hours that must be read from the results."""

    statistics: dict[datetime, MergedStatistics]
    unknown: set[datetime]


def changes_since(
    queries: ResultQueries, checkpoint: Checkpoint, start: datetime, end: datetime, read_time: datetime
) -> AsyncGenerator[Sequence[Any], None]:
    """Yield batches of the results with a time stamp from `start` to `end` that the rollups may not contain."""
    return queries.changes(checkpoint.as_of - MAX_COMMIT_DELAY, start, end, read_time)


def stored_hours(rollups: Iterable[Rollup], start: datetime, end: datetime) -> dict[datetime, RollupHour]:
    """Return the hours of rollups from `start` up to `end`, by their start."""
    return {hour: each for rollup in rollups for hour, each in rollup.hours.items() if start <= hour < end}


async def add_changes(
    added: dict[datetime, MergedStatistics],
    stored: Mapping[datetime, RollupHour],
    checkpoint: Checkpoint,
    changes: Iterable[Any],
    pause: Pause,
) -> None:
    """Add changed results to `added`, by hour, unless their hour in the rollups contains them or is stale."""
    for document in changes:
        await pause()
        hour = hour_of(timestamp_of(document))
        rollup = stored.get(hour)
        if rollup is not None and rollup.statistics is None:
            continue
        as_of = checkpoint.as_of if rollup is None else max(rollup.as_of, checkpoint.as_of)
        if encoding.to_datetime(document.update_time) > as_of:
            if hour not in added:
                added[hour] = MergedStatistics()
            add_result(added[hour], document)


async def current_hours(
    queries: ResultQueries,
    stored: Mapping[datetime, RollupHour],
    added: Mapping[datetime, MergedStatistics],
    read_time: datetime,
) -> CurrentHours:
    """Return all hours in a range of time that the checkpoint covers, as of `read_time`.

    `stored` are the hours of the rollups in the range, and `added` the later results. Takes the statistics of both.
    """
    unknown = {hour for hour, each in stored.items() if each.statistics is None}
    statistics = {hour: each.statistics for hour, each in stored.items() if each.statistics is not None}
    for hour, merged in added.items():
        if hour in statistics:
            merged.merge(statistics[hour])
        statistics[hour] = merged

    async def count(first: datetime, last: datetime) -> int:
        return await queries.count(first, last, read_time)

    for spans in list(_spans(statistics, unknown)):
        found = await find_differences(count, spans)
        for span in found.empty:
            del statistics[span.start]
        for span in found.different:
            del statistics[span.start]
            unknown.add(span.start)
    return CurrentHours(statistics, unknown)


def ranges(hours: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Return the ranges of time of some hours. Hours without a gap between them are one range."""
    found: list[tuple[datetime, datetime]] = []
    for hour in sorted(hours):
        if found and found[-1][1] == hour:
            found[-1] = found[-1][0], next_hour(hour)
        else:
            found.append((hour, next_hour(hour)))
    return found


def whole_hours(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Return the range of whole hours between two times. It is empty if its start is not before its end."""
    first = hour_of(start)
    return first if first == start else next_hour(first), hour_of(end)


def _spans(statistics: dict[datetime, MergedStatistics], unknown: set[datetime]) -> Iterator[list[Span]]:
    """Yield lists of known hours in order. No unknown hour is between the hours of a list."""
    spans: list[Span] = []
    for hour in sorted([*statistics, *unknown]):
        if hour not in unknown:
            spans.append(Span(hour, next_hour(hour), statistics[hour].results))
        elif spans:
            yield spans
            spans = []
    if spans:
        yield spans
