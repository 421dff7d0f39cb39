"""Spans of time with statistics: hours and days."""

from datetime import UTC, datetime

import pytest

from storage.rollups.rollup import LATEST, Resolution

DAY, HOUR = Resolution.DAY, Resolution.HOUR


def at(day: int, hour: int = 0) -> datetime:
    """Return an hour of May 2019."""
    return datetime(2019, 5, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "parts"),
    [
        (at(1, 22), at(4, 3), [(at(1, 22), at(2), HOUR), (at(2), at(4), DAY), (at(4), at(4, 3), HOUR)]),
        (at(2), at(4), [(at(2), at(4), DAY)]),
        (at(1, 22), at(2, 3), [(at(1, 22), at(2, 3), HOUR)]),
        (at(1, 1), at(1, 3), [(at(1, 1), at(1, 3), HOUR)]),
        (at(1, 1), at(1, 1), []),
    ],
)
def test_a_range_is_divided_into_whole_days_and_the_hours_around_them(
    start: datetime, end: datetime, parts: list[tuple[datetime, datetime, Resolution]]
) -> None:
    """The parts cover the range once, in the order of time. A range without a whole day has hours only."""
    assert DAY.parts(start, end) == parts
    assert HOUR.parts(start, end) == ([(start, end, HOUR)] if start < end else [])


def test_a_range_without_an_end_includes_the_last_day_of_the_calendar() -> None:
    """No span ends after the latest time, so its last hours are a part of their own."""
    start = LATEST.replace(hour=0, minute=0, second=0, microsecond=0)

    assert DAY.parts(start, LATEST) == [(start, LATEST, HOUR)]
