"""Many results summed up, all of them or over time."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.graphql_api.results.measured import Measured, write_results
from tests.stack import Stack

FIGURES = "results values mean standardDeviation minimum maximum"
SUMMARY = f"query ($filter: ResultFilter) {{ resultsSummary(filter: $filter) {{ {FIGURES} }} }}"
OVER_TIME = (
    "query ($filter: ResultFilter, $bucket: TimeBucket!) "
    f"{{ resultsOverTime(filter: $filter, bucket: $bucket) {{ start {FIGURES} }} }}"
)
NOTHING = {"results": 0, "values": 0, "mean": None, "standardDeviation": None, "minimum": None, "maximum": None}
SECONDS = {"MINUTE": 60, "FIVE_MINUTES": 300, "HOUR": 3600, "DAY": 86400}


def figures(samples: list[Any]) -> dict[str, Any]:
    """Return what numpy finds in the values of all samples."""
    values = np.concatenate([sample["data"] for sample in samples])
    return {
        "results": len(samples),
        "values": values.size,
        "mean": pytest.approx(values.mean(), rel=1e-12),
        "standardDeviation": pytest.approx(values.std(), rel=1e-12),
        "minimum": values.min(),
        "maximum": values.max(),
    }


def test_a_summary_is_of_all_values_together(measured: Measured) -> None:
    """As numpy finds it in the values one behind the other."""
    assert measured.page(SUMMARY) == figures(measured.samples)


def test_a_summary_is_of_what_passes_the_filter(measured: Measured) -> None:
    """Any of them; of nothing there is no mean."""
    few = [sample for sample in measured.samples if len(sample["data"]) <= 3 and max(sample["data"]) >= 3]

    assert measured.page(SUMMARY, filter={"count": {"lte": 3}, "maximum": {"gte": 3}}) == figures(few)
    assert measured.page(SUMMARY, filter={"median": {"gt": 100}}) == NOTHING


@pytest.mark.parametrize("bucket", SECONDS)
def test_each_piece_of_time_has_its_own_summary(measured: Measured, bucket: str) -> None:
    """By the time stamp in UTC; pieces without results are left out."""
    length = timedelta(seconds=SECONDS[bucket])
    pieces = defaultdict[datetime, list[Any]](list)
    for sample in measured.samples:
        moment = datetime.fromisoformat(sample["time_stamp"])
        pieces[moment - (moment - datetime.fromisoformat("1970-01-01T00:00:00Z")) % length].append(sample)

    found = measured.page(OVER_TIME, bucket=bucket)

    assert [datetime.fromisoformat(piece.pop("start")) for piece in found] == sorted(pieces)
    assert found == [figures(pieces[start]) for start in sorted(pieces)]


def test_more_pieces_of_time_than_one_wants_to_see_are_refused(stack: Stack) -> None:
    """And the message says what to do."""
    key = stack.new_key("buckets")
    start = datetime(2020, 1, 1, tzinfo=UTC)
    write_results(stack, "buckets", (start + timedelta(minutes=number) for number in range(2_001)))

    answer = stack.post_graphql(OVER_TIME, {"bucket": "MINUTE"}, key=key).json()

    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "OPERATION_TOO_COMPLEX"
    assert "2,000 time buckets" in error["message"]
    assert "`bucket`" in error["message"]
    assert len(stack.graphql(OVER_TIME, {"bucket": "HOUR"}, key=key)["resultsOverTime"]) == 34
