"""Archived days can be read by every later release, because nothing can compute them again."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.documents import Archiving
from storage.hourly_archive.archived_day import ArchivedDay
from storage.rollups.merged_statistics import MergedStatistics, ResultStatistics
from storage.rollups.rollup import Resolution

DAY = date(2026, 3, 28)
START = datetime(2026, 3, 28, tzinfo=UTC)
times = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def merged(mean: float) -> MergedStatistics:
    """Return the statistics of one result."""
    statistics = MergedStatistics()
    statistics.add(ResultStatistics(2, mean, 0.5, mean - 0.5, mean + 0.5), None)
    return statistics


def figures(day: ArchivedDay, resolution: Resolution = Resolution.HOUR) -> dict[datetime, tuple[float, ...]]:
    """Return the statistics of each hour, or of the day."""
    return {
        hour: (each.results, each.count, each.minimum, each.maximum, each.mean(), each.standard_deviation())
        for hour, each in day.spans(resolution).items()
    }


@given(st.lists(st.tuples(st.integers(0, 23), st.floats(-1e6, 1e6), times), min_size=1), st.booleans())
def test_a_stored_day_is_read_as_it_was(added: list[tuple[int, float, datetime | None]], is_series: bool) -> None:
    """With its labels, and the latest of the times until which its results are kept."""
    day = ArchivedDay(DAY, {"site": "a"} if is_series else None)
    for hour, mean, expire_at in added:
        day.add({START + timedelta(hours=hour): merged(mean)}, Archiving(expire_at))

    read = ArchivedDay.from_fields(DAY, day.fields(), START, is_series=is_series)

    for resolution in Resolution:
        assert figures(read, resolution) == figures(day, resolution)
    assert read.labels == day.labels
    latest = [expire_at for _, _, expire_at in added]
    assert read.expire_at == (None if None in latest else max(each for each in latest if each is not None))
    together = MergedStatistics()
    for each in read.spans(Resolution.HOUR).values():
        together.merge(each)
    [total] = read.spans(Resolution.DAY).values()
    assert together.results == len(added)
    assert together.encode() == total.encode()


def test_the_archive_of_the_first_release_can_be_read() -> None:
    """These bytes are in databases. A release with another form must still read them."""
    stored = bytes.fromhex(
        "02000000000000000500000000000000000000000000000000000000000010c00000000000000040ccffffff080000000000000070ff"
        "cbffffff0f0000000000000000000000000000d400004242010000000000000000004600000000000000000023030101"
    )

    fields = {"format_version": 1, "hours": {"7": stored}, "total": stored}
    day = ArchivedDay.from_fields(DAY, fields, START, is_series=False)

    expected = (2, 5, -4.0, 2.0, -1.8, 2.7129319932501073)
    assert figures(day) == {START + timedelta(hours=7): expected}
    assert figures(day, Resolution.DAY) == {START: expected}
    [total] = day.spans(Resolution.DAY).values()
    total.finish()
    quantiles = total.quantiles
    assert quantiles is not None
    assert (quantiles.values["median"], quantiles.relative_error) == (-4.0, 0.01)


def test_the_archive_of_a_later_release_is_refused() -> None:
    """An answer without it would be wrong."""
    with pytest.raises(ValueError, match="expected format version 1 of the hourly archive of 2026-03-28, got 2"):
        ArchivedDay.from_fields(DAY, {"format_version": 2, "hours": {}}, START, is_series=False)
