"""Summaries of results: the merged statistics of all results that match a filter, in total, per group of
results with equal labels, or per time bucket.

A summary reads only the fields that it merges, in batches that share one read time. Its memory does not grow with the
number of results, but its duration does. A summary therefore raises an error after `MAX_SECONDS`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, cast

from graphql_api.errors import TooComplex
from graphql_api.results.filters import Order, Selection
from graphql_api.results.merged_statistics import MergedStatistics, ResultStatistics
from graphql_api.results.result_listing import ResultListing
from graphql_api.results.series_listing import MAX_GROUPS, too_many_groups
from storage.documents import STATISTICS
from storage.firestore import encoding

MAX_BUCKETS = 2_000
MAX_SECONDS = 25.0
"""Less than the time limit of an operation, so that clients get the specific error of this module."""

_STATISTICS = [statistic.name for statistic in STATISTICS.values() if statistic.is_merged]
_FIELDS = ("timestamp", *_STATISTICS)
_EPOCH = datetime.fromtimestamp(0, UTC)


class TimeBucket(Enum):
    """The length of a time bucket in seconds. Buckets start at multiples of their length since 1970-01-01 in UTC."""

    MINUTE = 60
    FIVE_MINUTES = 300
    HOUR = 3_600
    DAY = 86_400

    def start(self, timestamp: datetime) -> datetime:
        """Return the start of the bucket that contains `timestamp`."""
        length = timedelta(seconds=self.value)
        return _EPOCH + (timestamp - _EPOCH) // length * length


Group = tuple[str | None, ...]
"""The values of the labels by which results are grouped. None means that the results lack the label."""


async def summarize(
    listing: ResultListing, submitter: str, selection: Selection, names: Sequence[str] = ()
) -> tuple[MergedStatistics, Mapping[Group, MergedStatistics]]:
    """Return the merged statistics of all selected results, and those of each group with equal labels `names`.

    Without `names`, no groups are formed. Raises `TooComplex` after `MAX_SECONDS`, or if there are too many groups.
    """
    merged = MergedStatistics()
    groups: dict[Group, MergedStatistics] = {}
    async with _time_limit(), aclosing(_read(listing, submitter, selection, names)) as results:
        async for _, group, statistics, sketch in results:
            merged.add(statistics, sketch)
            if names:
                if group not in groups:
                    if len(groups) == MAX_GROUPS:
                        raise too_many_groups()
                    groups[group] = MergedStatistics()
                groups[group].add(statistics, sketch)
        await _finish(listing, submitter, (merged, *groups.values()))
    return merged, groups


async def summarize_over_time(
    listing: ResultListing, submitter: str, selection: Selection, bucket: TimeBucket, names: Sequence[str] = ()
) -> Mapping[tuple[datetime, Group], MergedStatistics]:
    """Return the merged statistics by the start of the bucket, the earliest first, and by group.

    Buckets without results are omitted. Raises `TooComplex` after `MAX_SECONDS`, or if there are more than
    `MAX_BUCKETS` buckets of all groups.
    """
    buckets: dict[tuple[datetime, Group], MergedStatistics] = {}
    async with _time_limit(), aclosing(_read(listing, submitter, selection, names)) as results:
        async for timestamp, group, statistics, sketch in results:
            key = bucket.start(timestamp), group
            if key not in buckets:
                if len(buckets) == MAX_BUCKETS:
                    raise TooComplex(
                        f"the results are in more than {MAX_BUCKETS:,} time buckets; choose a longer `bucket`, fewer "
                        "groups, or a shorter range in `filter.timestamp`",
                        limit="max_time_buckets",
                    )
                buckets[key] = MergedStatistics()
            buckets[key].add(statistics, sketch)
        await _finish(listing, submitter, buckets.values())
    return buckets


async def _read(
    listing: ResultListing, submitter: str, selection: Selection, names: Sequence[str]
) -> AsyncGenerator[tuple[datetime, Group, ResultStatistics, bytes | None], None]:
    """Yield the time stamp, the group, the statistics and the sketch of each result, in the order of time stamps."""
    turn = listing.turns.of(submitter)
    fields = (*_FIELDS, "sketch", "labels") if names else (*_FIELDS, "sketch")
    async with aclosing(listing.scan(submitter, selection, Order("timestamp"), select=fields)) as batches:
        async for documents in batches:
            for document in documents:
                await turn.pause()
                timestamp, *values = (encoding.from_value(document.fields[name]) for name in _FIELDS)
                statistics: dict[str, Any] = dict(zip(_STATISTICS, values, strict=True))
                stored = document.fields["labels"].map_value.fields if names else {}
                group = tuple(stored[name].string_value if name in stored else None for name in names)
                sketch = document.fields["sketch"].bytes_value or None
                yield cast(datetime, timestamp), group, ResultStatistics(**statistics), sketch


async def _finish(listing: ResultListing, submitter: str, summaries: Iterable[MergedStatistics]) -> None:
    turn = listing.turns.of(submitter)
    for merged in summaries:
        await turn.pause()
        merged.finish()


@asynccontextmanager
async def _time_limit() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(MAX_SECONDS):
            yield
    except TimeoutError:
        raise TooComplex(
            f"the summary took longer than {MAX_SECONDS:g} s; use a narrower filter, for example on `timestamp`",
            limit="max_summary_seconds",
        ) from None
