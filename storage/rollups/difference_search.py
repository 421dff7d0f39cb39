"""The search for spans of time whose number of results is not the expected one, with few counts.

The expected number of a span is the number of results in its rollup and of those that were written since. A result
that was written again is in both, and one that was removed is in the rollup only. The expected number is therefore
never less than the real one, and equal only if the rollup and the later results together are exact. So if the numbers
of several spans together are equal, those of each span are. Otherwise the spans are halved and counted again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import NamedTuple

MAX_READ = 500
"""Spans with up to this number of expected results are not divided. Reading the results is as fast as more counts."""

logger = logging.getLogger(__name__)

Count = Callable[[datetime, datetime], Awaitable[int]]
"""Returns the number of results with a time stamp from the first time up to the second."""


class Span(NamedTuple):
    """A span of time, and the expected number of its results. Between two spans of a list, no results are expected."""

    start: datetime
    end: datetime
    expected: int


class Differences(NamedTuple):
    """The spans that have results, but other ones than expected, and the spans that have none any more."""

    different: list[Span]
    empty: list[Span]


async def find_differences(count: Count, spans: Sequence[Span]) -> Differences:
    """Return spans whose results are not the expected ones, and some neighbors. `spans` are in order of time."""
    found = Differences([], [])
    if spans:
        await _compare(count, spans, await count(spans[0].start, spans[-1].end), found)
    return found


async def _compare(count: Count, spans: Sequence[Span], actual: int, found: Differences) -> None:
    expected = sum(span.expected for span in spans)
    if actual == expected:
        return
    if actual > expected:
        logger.error(
            "rollups from %s to %s have %d results, and there are %d; they are read from the results",
            spans[0].start.isoformat(),
            spans[-1].end.isoformat(),
            expected,
            actual,
        )
        found.different.extend(spans)
    elif actual == 0:
        found.empty.extend(spans)
    elif len(spans) == 1 or expected <= MAX_READ:
        found.different.extend(spans)
    else:
        first, second = spans[: len(spans) // 2], spans[len(spans) // 2 :]
        actual_first = await count(first[0].start, first[-1].end)
        # The results between the halves are none, as the expected number says.
        await asyncio.gather(
            _compare(count, first, actual_first, found), _compare(count, second, actual - actual_first, found)
        )
