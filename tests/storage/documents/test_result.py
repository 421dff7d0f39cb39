"""Results round-trip through the stored document, and earlier versions stay readable."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from storage.documents import (
    STATISTICS_VERSION,
    Archiving,
    Arrival,
    Histogram,
    Result,
    SampleState,
    Statistics,
    Status,
    state_of,
)
from storage.firestore import encoding

TIME = datetime(2026, 1, 1, tzinfo=UTC)
FIRST_VERSION = {
    "status": "COMPUTED",
    "shard": 0,
    "sample_update_time": TIME,
    "statistics_version": 1,
    "computed_at": TIME,
    "timestamp": TIME,
    "count": 3,
    "mean": 2.0,
    "standard_deviation": 0.5,
    "minimum": 1.0,
    "maximum": 3.0,
}


def _stored(statistics: Statistics) -> dict[str, object]:
    """Return the fields of a result as Firestore returns them."""
    result = Result("one", "a1", TIME, 0, Status.COMPUTED, timestamp=TIME, statistics=statistics)
    write = encoding.to_write("projects/p/databases/d/documents/submitters/one/results/a1", result.fields())
    return encoding.from_document(write.update) | {"computed_at": TIME}


@pytest.mark.parametrize(
    "statistics",
    [
        Statistics(2, 1.5, 0.5, 1.0, 2.0, 3.0, 0.7, 1.0, 1.1, 1.2, 1.5, 1.8, 1.9, 2.0, 0.0, -2.0),
        Statistics(1, 1.0, 0.0, 1.0, 1.0, sum=1.0, histogram=Histogram((1.0, 1.0), (1,))),
    ],
    ids=["all", "one value"],
)
def test_a_result_round_trips(statistics: Statistics) -> None:
    """Undefined statistics and histograms are preserved."""
    stored = _stored(statistics)

    result = Result.from_fields("one", "a1", stored)

    assert result.statistics == statistics
    assert result.statistics_version == STATISTICS_VERSION == stored["statistics_version"]


@pytest.mark.parametrize("archiving", [None, Archiving(), Archiving(TIME + timedelta(days=9))])
@pytest.mark.parametrize("status", [Status.COMPUTED, Status.SUPERSEDED, Status.FAILED])
def test_the_time_to_live_never_deletes_a_result_that_belongs_to_the_archive(
    status: Status, archiving: Archiving | None
) -> None:
    """Firestore deletes documents with `expire_at`. Only computed results are in summaries, and in the archive."""
    statistics = None if status is Status.FAILED else Statistics(1, 1.0, 0.0, 1.0, 1.0, sum=1.0)
    timestamp = None if status is Status.FAILED else TIME
    result = Result(
        "one", "a1", TIME, 0, status, timestamp, statistics, expire_at=TIME + timedelta(days=1), archiving=archiving
    )

    fields = result.fields()

    is_archived = status is Status.COMPUTED and archiving is not None
    assert {"expire_at", "archive_at"} & fields.keys() == {"archive_at" if is_archived else "expire_at"}
    read = Result.from_fields("one", "a1", fields | {"computed_at": TIME})
    assert (read.expire_at, read.archiving) == (result.expire_at, archiving if is_archived else None)


def test_an_expired_sample_without_a_result_is_not_pending() -> None:
    """Firestore can delete its result first. A result decides the state as long as it exists."""
    assert state_of(Arrival.ACCEPTED) is SampleState.PENDING
    assert state_of(Arrival.ACCEPTED, has_expired=True) is SampleState.DELETED
    assert state_of(Arrival.ACCEPTED, Status.COMPUTED, has_expired=True) is SampleState.COMPUTED
    assert state_of(Arrival.REJECTED, has_expired=True) is SampleState.REJECTED


def test_a_result_of_the_first_version_is_readable() -> None:
    """It has five statistics. The others are None until the sample is computed again."""
    result = Result.from_fields("one", "a1", FIRST_VERSION)

    assert result.statistics == Statistics(3, 2.0, 0.5, 1.0, 3.0)
    assert (result.statistics.median, result.statistics.histogram) == (None, None)
    assert result.statistics_version == 1


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        ({"mean": "many"}, "mean"),
        ({"mean": None}, "mean"),
        ({"median": True}, "median"),
        ({"histogram": {"edges": 5, "counts": []}}, "histogram.edges"),
        ({"histogram": {"edges": [1.0, 2.0], "counts": [1.5]}}, "histogram.counts[0]"),
    ],
)
def test_a_damaged_result_raises_an_error_that_names_the_field(damage: dict[str, object], path: str) -> None:
    """Every field has its declared type."""
    with pytest.raises(ValueError, match=f"^Expected .* - at `{re.escape(f'$.{path}')}`$"):
        Result.from_fields("one", "a1", FIRST_VERSION | damage)
