"""Results and samples are found by what they are, in pages that do not shift."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stack import Stack, eventually

PAGE = """
query ($filter: ResultFilter, $orderBy: ResultOrder, $first: Int, $after: String) {
  results(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
    edges { cursor node { id timestamp mean standardDeviation count minimum maximum sample { id state timeStamp } } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""
SAMPLES = """
query ($filter: SampleFilter, $first: Int, $after: String) {
  samples(filter: $filter, first: $first, after: $after) {
    edges { cursor node { id state problems { path } result { mean } } } pageInfo { hasNextPage endCursor }
  }
}
"""
FIELDS = ["TIMESTAMP", "MEAN", "STANDARD_DEVIATION", "COUNT"]
NAMES = dict(zip(FIELDS, ["timestamp", "mean", "standardDeviation", "count"], strict=True))


class Measured:
    """Sixty samples of a submitter of their own, computed; and a few that are not."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.key = stack.new_key("measured")
        samples = [
            {
                "time_stamp": f"2020-01-{1 + number % 7:02d}T00:00:00+0{number % 3}:00",
                "data": [float(number % 5), *([float(number % 4)] * (number % 6))],
            }
            for number in range(60)
        ]
        mutation = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id state } }"
        self.receipts = stack.graphql(mutation, {"samples": [*samples, {"data": []}, 7]}, key=self.key)["submitMany"]
        self.rejected = [receipt["id"] for receipt in self.receipts if receipt["state"] == "REJECTED"]
        self.results = eventually(self._all_results)

    def _all_results(self) -> list[dict[str, Any]]:
        found = [edge["node"] for edge in self.page(first=500)["edges"]]
        return found if len(found) == 60 else []

    def page(self, **variables: Any) -> Any:
        """Return a page of results."""
        return self.stack.graphql(PAGE, variables, key=self.key)["results"]

    def pages(self, first: int, **variables: Any) -> list[str]:
        """Return the ids of all pages of `first` results each."""
        ids: list[str] = []
        after = None
        while True:
            page = self.page(first=first, after=after, **variables)
            assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
            ids += [edge["node"]["id"] for edge in page["edges"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                return ids


@pytest.fixture(scope="module", params=[1, 3], ids=["one shard", "three shards"])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """The sixty, stored once for this module, in one shard and in several."""
    with Stack(tmp_path_factory.mktemp("shards"), DROPZONE_SHARDS=str(request.param)) as stack:
        yield Measured(stack)


def test_submit_many_answers_each_in_order(measured: Measured) -> None:
    """A bad sample harms no other."""
    states = [receipt["state"] for receipt in measured.receipts]

    assert states == ["PENDING"] * 60 + ["REJECTED"] * 2
    assert sorted(result["id"] for result in measured.results) == sorted(r["id"] for r in measured.receipts[:60])


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", FIELDS)
def test_pages_in_any_order_have_every_result_once(measured: Measured, field: str, direction: str) -> None:
    """Between equal values the others decide, and ids at last, so no page shifts."""
    names = [NAMES[field], "count", "mean", "standardDeviation", "timestamp", "id"]
    expected = sorted(measured.results, key=itemgetter(*names), reverse=direction == "DESC")

    ids = measured.pages(7, orderBy={"field": field, "direction": direction})

    assert ids == [result["id"] for result in expected]


bounds = st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt"]), st.integers(0, 4), min_size=1)
filters = st.fixed_dictionaries(
    {}, optional={"mean": bounds, "standardDeviation": bounds, "count": bounds, "timestamp": bounds}
)
HOLDS = {
    "gte": lambda value, limit: value >= limit,
    "gt": lambda value, limit: value > limit,
    "lte": lambda value, limit: value <= limit,
    "lt": lambda value, limit: value < limit,
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filters, st.sampled_from(FIELDS), st.sampled_from(["ASC", "DESC"]))
def test_ranges_combine(measured: Measured, ranges: dict[str, Any], field: str, direction: str) -> None:
    """Any of them, on any of the numbers and the time, in any order."""
    if "timestamp" in ranges:
        limits = {name: f"2020-01-0{1 + day}T00:00:00Z" for name, day in ranges["timestamp"].items()}
        ranges = ranges | {"timestamp": limits}
    expected = [
        result["id"]
        for result in measured.results
        if all(HOLDS[o](result[name], limit) for name, limits in ranges.items() for o, limit in limits.items())
    ]

    ids = measured.pages(20, filter=ranges, orderBy={"field": field, "direction": direction})

    assert sorted(ids) == sorted(expected)


def test_a_result_knows_its_sample(measured: Measured) -> None:
    """And its extremes."""
    for result in measured.results:
        assert result["sample"]["id"] == result["id"]
        assert result["sample"]["state"] == "COMPUTED"
        assert result["minimum"] <= result["mean"] <= result["maximum"]


@pytest.mark.parametrize(("state", "count"), [("COMPUTED", 60), ("REJECTED", 2), ("PENDING", 0), ("FAILED", 0)])
def test_samples_are_found_by_state(measured: Measured, state: str, count: int) -> None:
    """Page by page, the newest first."""
    ids: list[str] = []
    after, more = None, True
    while more:
        variables = {"filter": {"state": state}, "first": 25, "after": after}
        page = measured.stack.graphql(SAMPLES, variables, key=measured.key)["samples"]
        assert {edge["node"]["state"] for edge in page["edges"]} <= {state}
        ids += [edge["node"]["id"] for edge in page["edges"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]

    assert len(ids) == len(set(ids)) == count


def test_all_samples_are_there_in_one_list(measured: Measured) -> None:
    """Whatever their state."""
    page = measured.stack.graphql(SAMPLES, {"first": 500}, key=measured.key)["samples"]

    assert {edge["node"]["id"] for edge in page["edges"]} == {receipt["id"] for receipt in measured.receipts}


@pytest.mark.parametrize(
    ("variables", "at"),
    [
        ({"first": -1}, "first"),
        ({"first": 501}, "first"),
        ({"after": "nonsense"}, "after"),
        ({"after": "é"}, "after"),
        ({"after": "x" * 10_000}, "after"),
    ],
)
def test_a_page_that_cannot_be_is_refused_with_its_argument(measured: Measured, variables: Any, at: str) -> None:
    """Never an empty page instead."""
    answer = measured.stack.post_graphql(PAGE, variables, key=measured.key).json()

    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert f"`{at}`" in error["message"]


def test_a_cursor_of_another_order_is_refused(measured: Measured) -> None:
    """It would skip results in silence."""
    after = measured.page(first=1, orderBy={"field": "MEAN"})["pageInfo"]["endCursor"]

    answer = measured.stack.post_graphql(PAGE, {"after": after, "orderBy": {"field": "COUNT"}}, key=measured.key).json()

    assert "same order" in answer["errors"][0]["message"]


def test_values_come_in_part_or_whole(measured: Measured) -> None:
    """And the raw document as it was sent, unusual numbers included."""
    data = b"[1e2, -0, 123456789012345678901234567890, 1E-400]"
    raw = b'{"time_stamp": "2020-01-01T00:00:00Z", "data": %s, "x": [1.10]}' % data
    sample_id = measured.stack.post_sample(raw).json()["id"]

    answer = measured.stack.post_graphql(
        "query ($id: ID!) { sample(id: $id) { whole: data part: data(first: 2, offset: 1) raw } }", {"id": sample_id}
    )

    assert answer.json()["data"]["sample"]["whole"] == [100.0, 0, 1.2345678901234568e29, 0.0]
    assert answer.json()["data"]["sample"]["part"] == [0, 1.2345678901234568e29]
    assert raw in answer.content
