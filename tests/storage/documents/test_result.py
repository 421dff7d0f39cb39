"""Results as they are stored and read back, those of earlier versions too."""

from datetime import UTC, datetime

import pytest

from storage.documents import STATISTICS_VERSION, Histogram, Result, Statistics, Status
from storage.firestore import encoding

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
FIRST_VERSION = {
    "status": "COMPUTED",
    "shard": 0,
    "sample_update_time": MOMENT,
    "statistics_version": 1,
    "computed_at": MOMENT,
    "timestamp": MOMENT,
    "count": 3,
    "mean": 2.0,
    "standard_deviation": 0.5,
    "minimum": 1.0,
    "maximum": 3.0,
}


def _stored(statistics: Statistics) -> dict[str, object]:
    """Return a result's fields as Firestore gives them back."""
    result = Result("one", "a1", MOMENT, 0, Status.COMPUTED, timestamp=MOMENT, statistics=statistics)
    write = encoding.to_write("projects/p/databases/d/documents/submitters/one/results/a1", result.fields())
    return encoding.from_document(write.update) | {"computed_at": MOMENT}


@pytest.mark.parametrize(
    "statistics",
    [
        Statistics(2, 1.5, 0.5, 1.0, 2.0, 3.0, 0.7, 1.0, 1.1, 1.2, 1.5, 1.8, 1.9, 2.0, 0.0, -2.0),
        Statistics(1, 1.0, 0.0, 1.0, 1.0, sum=1.0, histogram=Histogram((1.0, 1.0), (1,))),
    ],
    ids=["all", "one value"],
)
def test_what_is_stored_is_read_back(statistics: Statistics) -> None:
    """Also where a figure is undefined, and the histogram with its edges and counts."""
    stored = _stored(statistics)

    result = Result.from_fields("one", "a1", stored)

    assert result.statistics == statistics
    assert result.statistics_version == STATISTICS_VERSION == stored["statistics_version"]


def test_a_result_of_the_first_version_stays_readable() -> None:
    """It has five figures; the others are None until the sample is computed again."""
    result = Result.from_fields("one", "a1", FIRST_VERSION)

    assert result.statistics == Statistics(3, 2.0, 0.5, 1.0, 3.0)
    assert (result.statistics.median, result.statistics.histogram) == (None, None)
    assert result.statistics_version == 1


@pytest.mark.parametrize("damage", [{"mean": "many"}, {"histogram": {"edges": 5, "counts": []}}, {"median": True}])
def test_what_is_no_result_is_refused(damage: dict[str, object]) -> None:
    """A number is a number, not a text that looks like one."""
    with pytest.raises(TypeError, match="expected"):
        Result.from_fields("one", "a1", FIRST_VERSION | damage)
