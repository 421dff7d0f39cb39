"""Results summed up: all that pass a filter, or those of each minute, hour or day.

Only the fields that are merged are read, as of one moment, some at a time; so memory is flat. What is read
still grows with the number of results, so it ends with an error that says what to do when it takes too long.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Self, cast

import strawberry

from graphql_api.errors import TooComplex
from graphql_api.results.filters import Bound, Order
from graphql_api.results.listing import Lists
from graphql_api.results.merged_statistics import Merged, Part
from storage.firestore import encoding

MAX_BUCKETS = 2_000
MAX_SECONDS = 25.0
"""Less than an operation as a whole may take, so that this error is the one that is told."""

_TURN = 200
"""Results merged without a pause: others have their turn in between."""
_FIELDS = ("timestamp", *Part.__slots__)
_EPOCH = datetime.fromtimestamp(0, UTC)


@strawberry.enum(description="How long the pieces are that time is cut into. They begin at whole ones, in UTC.")
class TimeBucket(Enum):
    """Lengths in seconds."""

    MINUTE = strawberry.enum_value(60, description="A minute.")
    FIVE_MINUTES = strawberry.enum_value(300, description="Five minutes: :00, :05, :10 and so on.")
    HOUR = strawberry.enum_value(3_600, description="An hour.")
    DAY = strawberry.enum_value(86_400, description="A day, from midnight to midnight in UTC.")


@strawberry.type(description="The statistics of all values of many results together.")
class ResultsSummary:
    """What was merged."""

    results: int = strawberry.field(description="How many results there are.")
    values: float = strawberry.field(
        description="How many values they have together: a whole number, but one that may be too large for an Int."
    )
    mean: float | None = strawberry.field(description="The arithmetic mean of all values; null where there are none.")
    standard_deviation: float | None = strawberry.field(
        description=(
            "The population standard deviation of all values about their common mean; null where there are none. It "
            "is merged from each result's rounded mean and standard deviation, so it is off by up to half a unit in "
            "the last place of the largest mean."
        )
    )
    minimum: float | None = strawberry.field(description="The smallest value; null where there are none.")
    maximum: float | None = strawberry.field(description="The largest value; null where there are none.")

    @classmethod
    def of(cls, merged: Merged, **further: Any) -> Self:
        """Show what was merged."""
        empty = not merged.count
        return cls(
            results=merged.parts,
            values=float(merged.count),
            mean=None if empty else merged.mean(),
            standard_deviation=None if empty else merged.standard_deviation(),
            minimum=None if empty else merged.minimum,
            maximum=None if empty else merged.maximum,
            **further,
        )


@strawberry.type(description="The statistics of all values of the results with a time stamp in one piece of time.")
class ResultsBucket(ResultsSummary):
    """A summary and where it begins."""

    start: datetime = strawberry.field(description="Where the piece of time begins; it ends before the next begins.")


async def summarise(lists: Lists, submitter: str, bounds: Sequence[Bound]) -> ResultsSummary:
    """Return the summary of all results within `bounds`. Raises `TooComplex` where there are too many."""
    merged = Merged()
    async with _in_time():
        async for _, part in _parts(lists, submitter, bounds):
            merged.add(part)
    return ResultsSummary.of(merged)


async def summarise_over_time(
    lists: Lists, submitter: str, bounds: Sequence[Bound], bucket: TimeBucket
) -> list[ResultsBucket]:
    """Return the summaries of each bucket that has results. Raises `TooComplex` where there are too many."""
    buckets: dict[datetime, Merged] = {}
    async with _in_time(), aclosing(_parts(lists, submitter, bounds)) as parts:
        async for timestamp, part in parts:
            start = _start(timestamp, bucket)
            if start not in buckets:
                if len(buckets) == MAX_BUCKETS:
                    raise TooComplex(
                        f"the results are in more than {MAX_BUCKETS:,} pieces of time: take longer ones - at `bucket` "
                        "- or narrow `filter.timestamp`"
                    )
                buckets[start] = Merged()
            buckets[start].add(part)
    return [ResultsBucket.of(merged, start=start) for start, merged in buckets.items()]


async def _parts(lists: Lists, submitter: str, bounds: Sequence[Bound]) -> AsyncGenerator[tuple[datetime, Part], None]:
    """Yield what each result gives, in the order of time stamps."""
    async with aclosing(lists.scan_results(submitter, bounds, Order("timestamp"), select=_FIELDS)) as pages:
        async for documents in pages:
            for number, document in enumerate(documents):
                if number % _TURN == _TURN - 1:
                    await asyncio.sleep(0)
                timestamp, *numbers = (encoding.from_value(document.fields[name]) for name in _FIELDS)
                yield cast(datetime, timestamp), Part(*cast(list[Any], numbers))


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(MAX_SECONDS):
            yield
    except TimeoutError:
        raise TooComplex(
            f"reading so many results took longer than {MAX_SECONDS:g} s: narrow the filter, for example by `timestamp`"
        ) from None


def _start(timestamp: datetime, bucket: TimeBucket) -> datetime:
    seconds: Any = bucket.value
    length = timedelta(seconds=seconds)
    return _EPOCH + (timestamp - _EPOCH) // length * length
