"""The search for spans of time with an unexpected number of results. It needs few counts.

The expected number of a span is the number of results in its rollup, plus the number of results that were written
later. A result that was written again is in both numbers. A result that was removed is only in the rollup. The expected
number is therefore never less than the actual number. The two are equal only if the rollup and the later results
together are exact. If the sums of both numbers over several spans are equal, the numbers of each span are therefore
equal. Otherwise, the spans are divided into halves, and counted again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import NamedTuple

MAX_READ = 500
"""Spans with up to this number of expected results are not divided. Reading these results is as fast as more counts."""

logger = logging.getLogger(__name__)

Count = Callable[[datetime, datetime], Awaitable[int]]
"""Returns the number of results with a time stamp from the first time up to the second."""


class Span(NamedTuple):
    """A span of time, and the expected number of its results. Between two spans of a list, no results are expected."""

    start: datetime
    end: datetime
    expected: int


class Differences(NamedTuple):
    """The spans with an unexpected number of results, and the spans that have no results any more."""

    different: list[Span]
    empty: list[Span]


async def find_differences(count: Count, spans: Sequence[Span]) -> Differences:
    """Return the spans with an unexpected number of results, and some neighbors. `spans` are in order of time."""
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
            "rollups from %s to %s have %d results, but %d results are stored; reading the results instead",
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
        # No results are between the halves, because none are expected there.
        await asyncio.gather(
            _compare(count, first, actual_first, found), _compare(count, second, actual - actual_first, found)
        )
