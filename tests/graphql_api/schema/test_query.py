"""Results and samples are found by what they are."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphql_api.results.measured import FIELDS, Measured


def test_submit_many_answers_each_in_order(measured: Measured) -> None:
    """A bad sample harms no other."""
    states = [receipt["state"] for receipt in measured.receipts]

    assert states == ["PENDING"] * 60 + ["REJECTED"] * 2
    assert sorted(result["id"] for result in measured.results) == sorted(r["id"] for r in measured.receipts[:60])


bounds = st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt"]), st.integers(0, 4), min_size=1)
filters = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS.values(), bounds))
HOLDS = {
    "gte": lambda value, limit: value >= limit,
    "gt": lambda value, limit: value > limit,
    "lte": lambda value, limit: value <= limit,
    "lt": lambda value, limit: value < limit,
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filters, st.sampled_from([*FIELDS]), st.sampled_from(["ASC", "DESC"]))
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

    order = {"field": field, "direction": direction}

    ids = measured.pages(20, filter=ranges, orderBy=order)

    assert sorted(ids) == sorted(expected)
    assert measured.pages_backward(20, filter=ranges, orderBy=order) == ids


def test_a_result_knows_its_sample(measured: Measured) -> None:
    """And its extremes."""
    for result in measured.results:
        assert result["sample"]["id"] == result["id"]
        assert result["sample"]["state"] == "COMPUTED"
        assert result["minimum"] <= result["mean"] <= result["maximum"]


def test_values_come_in_part_or_whole(measured: Measured) -> None:
    """And the raw document as it was sent, unusual numbers included."""
    data = b"[1e2, -0, 123456789012345678901234567890, 1E-400]"
    raw = b'{"time_stamp": "2020-01-01T00:00:00Z", "data": %s, "x": [1.10]}' % data
    key = measured.stack.new_key("unusual-values")
    sample_id = measured.stack.post_sample(raw, x_api_key=key).json()["id"]

    answer = measured.stack.post_graphql(
        "query ($id: ID!) { sample(id: $id) { whole: data part: data(first: 2, offset: 1) raw } }",
        {"id": sample_id},
        key=key,
    )

    assert answer.json()["data"]["sample"]["whole"] == [100.0, 0, 1.2345678901234568e29, 0.0]
    assert answer.json()["data"]["sample"]["part"] == [0, 1.2345678901234568e29]
    assert raw in answer.content
