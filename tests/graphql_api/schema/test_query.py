"""Queries for results and samples."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.documents import document_paths
from tests.graphql_api.results.measured import FIELDS, Measured
from tests.stack import Stack, eventually


def test_submit_many_returns_receipts_in_the_order_of_the_samples(measured: Measured) -> None:
    """An invalid sample does not affect the others."""
    states = [receipt["state"] for receipt in measured.receipts]

    assert states == ["PENDING"] * 60 + ["REJECTED"] * 2
    assert sorted(result["id"] for result in measured.results) == sorted(r["id"] for r in measured.receipts[:60])


bounds = st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt"]), st.integers(0, 4), min_size=1)
filters = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS.values(), bounds))
MATCHES = {
    "gte": lambda value, limit: value >= limit,
    "gt": lambda value, limit: value > limit,
    "lte": lambda value, limit: value <= limit,
    "lt": lambda value, limit: value < limit,
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filters, st.sampled_from([*FIELDS]), st.sampled_from(["ASC", "DESC"]))
def test_results_match_all_ranges(measured: Measured, ranges: dict[str, Any], field: str, direction: str) -> None:
    """Ranges of the time stamp and of statistics combine with each order."""
    if "timestamp" in ranges:
        limits = {name: f"2020-01-0{1 + day}T00:00:00Z" for name, day in ranges["timestamp"].items()}
        ranges = ranges | {"timestamp": limits}
    expected = [
        result["id"]
        for result in measured.results
        if all(MATCHES[o](result[name], limit) for name, limits in ranges.items() for o, limit in limits.items())
    ]

    order = {"field": field, "direction": direction}

    ids = measured.pages(20, filter=ranges, orderBy=order)

    assert sorted(ids) == sorted(expected)
    assert measured.pages_backward(20, filter=ranges, orderBy=order) == ids


def test_a_result_has_its_sample(measured: Measured) -> None:
    """The mean is between the smallest and the largest value."""
    for result in measured.results:
        assert result["sample"]["id"] == result["id"]
        assert result["sample"]["state"] == "COMPUTED"
        assert result["minimum"] <= result["mean"] <= result["maximum"]


def test_values_are_returned_in_whole_or_in_part(measured: Measured) -> None:
    """The raw document is returned byte for byte, with unusual numbers."""
    data = b"[1e2, -0, 123456789012345678901234567890, 1E-400]"
    raw = b'{"time_stamp": "2020-01-01T00:00:00Z", "data": %s, "x": [1.10]}' % data
    key = measured.stack.new_key("unusual-values")
    sample_id = measured.stack.post_sample(raw, x_api_key=key).json()["id"]

    response = measured.stack.post_graphql(
        "query ($id: ID!) { sample(id: $id) { whole: data part: data(first: 2, offset: 1) raw } }",
        {"id": sample_id},
        key=key,
    )

    assert response.json()["data"]["sample"]["whole"] == [100.0, 0, 1.2345678901234568e29, 0.0]
    assert response.json()["data"]["sample"]["part"] == [0, 1.2345678901234568e29]
    assert raw in response.content


def test_a_result_whose_sample_was_deleted_has_no_sample(stack: Stack) -> None:
    """The other results are returned. The error says what is missing, and where."""
    key = stack.new_key("deleted-sample")
    kept, deleted = (stack.submit({"time_stamp": "2020-01-01T00:00:00Z", "data": [1]}, key=key)["id"] for _ in "ab")
    for sample_id in (kept, deleted):
        eventually(partial(_is_computed, stack, sample_id, key))
    stack.firestore().document(document_paths.sample("deleted-sample", deleted)).delete()

    response = stack.post_graphql("{ results { edges { node { id sample { id } } } } }", key=key).json()

    nodes = {edge["node"]["id"]: edge["node"]["sample"] for edge in response["data"]["results"]["edges"]}
    assert nodes == {kept: {"id": kept}, deleted: None}
    [error] = response["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"
    assert error["path"][:2] == ["results", "edges"]
    assert error["path"][-1] == "sample"


def _is_computed(stack: Stack, sample_id: str, key: str) -> bool:
    return bool(stack.sample(sample_id, key=key)["state"] == "COMPUTED")


def test_a_later_sample_with_the_same_key_is_not_the_sample_of_a_result(stack: Stack) -> None:
    """A result can be kept longer than its sample. A REJECTED sample leaves the result where it is."""
    key = stack.new_key("kept-result")
    sample = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1]}
    sample_id = stack.submit(sample, key=key, idempotency_key="once")["id"]
    stack.wait_for(sample_id, key=key)
    firestore: Any = stack.firestore()  # `close` has no type hints
    firestore.document(document_paths.sample("kept-result", sample_id)).delete()  # as when it expires
    firestore.close()
    stack.submit(sample | {"data": []}, key=key, idempotency_key="once")

    query = "query ($id: ID!) { result(id: $id) { count submittedBy sample { state } } }"
    response = stack.post_graphql(query, {"id": sample_id}, key=key).json()

    assert response["data"]["result"] == {"count": 1, "submittedBy": None, "sample": None}
    (error,) = response["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("literal", ['"2026-05-01"', '"2026-05-01T00:00:00"', "5"])
def test_an_error_of_a_time_in_the_query_has_its_position(stack: Stack, literal: str) -> None:
    """A query can have many times. A variable has a path in the message instead."""
    query = "{ results(filter: {timestamp: {gte: TIME}}) { totalCount } }"
    [literal_error] = stack.post_graphql(query.replace("TIME", literal)).json()["errors"]
    variable = query.replace("{ results", "query ($time: DateTime) { results").replace("TIME", "$time")
    [variable_error] = stack.post_graphql(variable, {"time": json.loads(literal)}).json()["errors"]

    assert literal_error["locations"] == [{"line": 1, "column": 1 + query.index("TIME")}]
    assert literal_error["message"] in variable_error["message"]
