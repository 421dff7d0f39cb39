"""Summaries of many results, in total and per time bucket."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.graphql_api.results.measured import Measured, write_results
from tests.stack import Stack, eventually

QUANTILES = {
    "percentile1": 1,
    "percentile5": 5,
    "lowerQuartile": 25,
    "median": 50,
    "upperQuartile": 75,
    "percentile95": 95,
    "percentile99": 99,
}
FIGURES = "results values mean standardDeviation minimum maximum quantileError resultsWithoutSketch " + " ".join(
    QUANTILES
)
SUMMARY = f"query ($filter: ResultFilter) {{ resultsSummary(filter: $filter) {{ {FIGURES} }} }}"
OVER_TIME = (
    "query ($filter: ResultFilter, $bucket: TimeBucket!) "
    f"{{ resultsOverTime(filter: $filter, bucket: $bucket) {{ start {FIGURES} }} }}"
)
NOTHING = {
    **dict.fromkeys(["mean", "standardDeviation", "minimum", "maximum", "quantileError", *QUANTILES]),
    "results": 0,
    "values": 0,
    "resultsWithoutSketch": 0,
}
SECONDS = {"MINUTE": 60, "FIVE_MINUTES": 300, "HOUR": 3600, "DAY": 86400}


def figures(samples: list[Any]) -> dict[str, Any]:
    """Return the statistics that numpy computes from the values of all samples."""
    values = np.concatenate([sample["data"] for sample in samples])
    return {
        "results": len(samples),
        "values": values.size,
        "mean": pytest.approx(values.mean(), rel=1e-12),
        "standardDeviation": pytest.approx(values.std(), rel=1e-12),
        "minimum": values.min(),
        "maximum": values.max(),
        "quantileError": pytest.approx(0.01),
        "resultsWithoutSketch": 0,
        **{name: pytest.approx(np.percentile(values, percent), rel=0.010001) for name, percent in QUANTILES.items()},
    }


def test_a_summary_covers_all_values(measured: Measured) -> None:
    """It equals the statistics that numpy computes from all values."""
    assert measured.page(SUMMARY) == figures(measured.samples)


def test_a_summary_covers_only_results_that_match_the_filter(measured: Measured) -> None:
    """Without results there is a count of 0 and no mean."""
    few = [sample for sample in measured.samples if len(sample["data"]) <= 3 and max(sample["data"]) >= 3]

    assert measured.page(SUMMARY, filter={"count": {"lte": 3}, "maximum": {"gte": 3}}) == figures(few)
    assert measured.page(SUMMARY, filter={"median": {"gt": 100}}) == NOTHING


@pytest.mark.parametrize("bucket", SECONDS)
def test_each_time_bucket_has_its_own_summary(measured: Measured, bucket: str) -> None:
    """Results are assigned by their time stamp in UTC. Buckets without results are omitted."""
    length = timedelta(seconds=SECONDS[bucket])
    buckets = defaultdict[datetime, list[Any]](list)
    for sample in measured.samples:
        instant = datetime.fromisoformat(sample["time_stamp"])
        buckets[instant - (instant - datetime.fromisoformat("1970-01-01T00:00:00Z")) % length].append(sample)

    response = measured.page(OVER_TIME, bucket=bucket)

    assert [datetime.fromisoformat(summary.pop("start")) for summary in response] == sorted(buckets)
    assert response == [figures(buckets[start]) for start in sorted(buckets)]


def test_results_of_earlier_versions_have_no_quantiles_and_are_counted(stack: Stack) -> None:
    """Quantiles of the other results would be those of other values."""
    key = stack.new_key("without-sketch")
    write_results(stack, "without-sketch", [datetime(2020, 1, 1, tzinfo=UTC)] * 2, statistics_version=3)

    summary = stack.graphql(SUMMARY, {}, key=key)["resultsSummary"]

    assert (summary["results"], summary["mean"], summary["resultsWithoutSketch"]) == (2, 1.0, 2)
    assert [summary[name] for name in ("quantileError", *QUANTILES)] == [None] * 8


@pytest.mark.parametrize("filters", [{}, {"count": {"gte": 1}}])
def test_groups_are_in_alphabetical_order(stack: Stack, filters: dict[str, Any]) -> None:
    """The order does not depend on the times of the results, or on how the server reads them."""
    name = f"ordered-groups-{len(filters)}"
    key = stack.new_key(name)
    sites = ["c", "a", None, "b"]
    for minute, site in enumerate(sites):
        labels = {"site": site} if site else {}
        stack.submit({"time_stamp": f"2026-01-01T00:0{minute}:00Z", "data": [1], "labels": labels}, key=key)
    query = """query ($filter: ResultFilter) {
        resultsSummary(filter: $filter, groupBy: ["site"]) { results groups { labels { value } } }
        resultsOverTime(filter: $filter, groupBy: ["site"], bucket: DAY) { labels { value } } }"""

    def groups() -> Any:
        found = stack.graphql(query, {"filter": filters}, key=key)
        is_complete = found["resultsSummary"]["results"] == len(sites) == len(found["resultsOverTime"])
        return is_complete and [found["resultsSummary"]["groups"], found["resultsOverTime"]]

    expected = [{"labels": labels} for labels in ([], [{"value": "a"}], [{"value": "b"}], [{"value": "c"}])]
    assert eventually(groups) == [expected, expected]
