"""Pages that do not shift, read from either end, as Relay has them."""

import base64
from itertools import product
from operator import itemgetter
from typing import Any

import msgspec
import pytest

from tests.graphql_api.results.measured import FIELDS, PAGE, SAMPLES, Measured

STATES = {"COMPUTED": 60, "REJECTED": 2, "PENDING": 0, "FAILED": 0}


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", FIELDS)
def test_pages_in_any_order_have_every_result_once(measured: Measured, field: str, direction: str) -> None:
    """Between equal values the others decide, and ids at last, so no page shifts from whichever end it is read."""
    order = {"field": field, "direction": direction}
    names = [FIELDS[field], *(name for name in FIELDS.values() if name != "median"), "id"]
    ordered = sorted(measured.results, key=itemgetter(*names), reverse=direction == "DESC")
    expected = [result["id"] for result in ordered]

    assert measured.pages(7, orderBy=order) == expected
    assert measured.pages_backward(7, orderBy=order) == expected


def test_results_are_in_the_order_in_which_they_were_computed(measured: Measured) -> None:
    """And in the reverse."""
    newest_first = measured.pages(25, orderBy={"field": "COMPUTED_AT", "direction": "DESC"})

    assert newest_first == measured.pages(25, orderBy={"field": "COMPUTED_AT"})[::-1]
    assert sorted(newest_first) == sorted(result["id"] for result in measured.results)


@pytest.mark.parametrize("measured", [1], indirect=True, ids=["one shard"])
def test_every_combination_of_order_and_ranges_has_its_index(measured: Measured) -> None:
    """Firestore refuses a query without one, and the embedded one does as the cloud does."""
    number, time = {"gte": -1.0, "lt": 1000.0}, {"gt": "2000-01-01T00:00:00Z", "lte": "2100-01-01T00:00:00Z"}
    ranges = {name: time if name == "timestamp" else number for name in FIELDS.values()} | {"count": {"gte": 1}}
    combinations: list[dict[str, Any]] = [{}, ranges, *({name: limits} for name, limits in ranges.items())]

    for field, direction, wanted in product([*FIELDS, "COMPUTED_AT"], ["ASC", "DESC"], combinations):
        query = {"filter": wanted, "orderBy": {"field": field, "direction": direction}}
        first = measured.page(first=2, **query)
        last = measured.page(last=1, before=first["edges"][1]["cursor"], **query)
        assert last["edges"] == first["edges"][:1]
        assert (last["pageInfo"]["hasNextPage"], first["totalCount"]) == (True, 60)


def test_every_combination_of_state_and_time_has_its_index(measured: Measured) -> None:
    """Of samples, the newest first."""
    for state, time in product([None, *STATES], [None, {"gte": "2020-01-01T00:00:00Z"}]):
        query = {"filter": {"state": state, "submittedAt": time}}
        ids = measured.pages(25, SAMPLES, **query)

        assert len(ids) == len(set(ids)) == (62 if state is None else STATES[state])
        assert measured.pages_backward(25, SAMPLES, **query) == ids


def test_a_page_between_two_cursors_ends_before_the_second(measured: Measured) -> None:
    """Read from either end; that there is more is said of what is between them."""
    edges = measured.page(first=60)["edges"]
    between = {"after": edges[9]["cursor"], "before": edges[20]["cursor"]}

    first, last, all_of_them = (
        measured.page(PAGE, **between, **size) for size in ({"first": 4}, {"last": 4}, {"first": 10})
    )

    assert first["edges"] == edges[10:14]
    assert last["edges"] == edges[16:20]
    assert all_of_them["edges"] == edges[10:20]
    assert (first["pageInfo"]["hasPreviousPage"], first["pageInfo"]["hasNextPage"]) == (True, True)
    assert (last["pageInfo"]["hasPreviousPage"], last["pageInfo"]["hasNextPage"]) == (True, True)
    assert (all_of_them["pageInfo"]["hasPreviousPage"], all_of_them["pageInfo"]["hasNextPage"]) == (True, False)


def test_an_empty_page_knows_what_is_around_it(measured: Measured) -> None:
    """Behind the last there is nothing, but ahead of it there is."""
    cursor = measured.page(last=1)["edges"][0]["cursor"]

    behind, of_none = measured.page(first=3, after=cursor), measured.page(first=0)

    assert behind["edges"] == of_none["edges"] == []
    assert (behind["pageInfo"]["hasPreviousPage"], behind["pageInfo"]["hasNextPage"]) == (True, False)
    assert (of_none["pageInfo"]["hasPreviousPage"], of_none["pageInfo"]["hasNextPage"]) == (False, True)


@pytest.mark.parametrize(("state", "count"), STATES.items())
def test_samples_are_found_by_state(measured: Measured, state: str, count: int) -> None:
    """And counted."""
    page = measured.page(SAMPLES, filter={"state": state}, first=100)

    assert [edge["node"]["state"] for edge in page["edges"]] == [state] * count
    assert page["totalCount"] == count


def test_all_samples_are_there_in_one_list(measured: Measured) -> None:
    """Whatever their state."""
    page = measured.page(SAMPLES, first=500)

    assert {edge["node"]["id"] for edge in page["edges"]} == {receipt["id"] for receipt in measured.receipts}


@pytest.mark.parametrize(
    ("variables", "at"),
    [
        ({"first": -1}, "first"),
        ({"first": 501}, "first"),
        ({"last": -1}, "last"),
        ({"last": 501}, "last"),
        ({"first": 1, "last": 1}, "last"),
        ({"after": "nonsense"}, "after"),
        ({"after": "é"}, "after"),
        ({"after": "x" * 10_000}, "after"),
        ({"before": "nonsense"}, "before"),
    ],
)
@pytest.mark.parametrize("query", [PAGE, SAMPLES], ids=["results", "samples"])
def test_a_page_that_cannot_be_is_refused_with_its_argument(
    measured: Measured, query: str, variables: Any, at: str
) -> None:
    """Never an empty page instead."""
    answer = measured.stack.post_graphql(query, variables, key=measured.key).json()

    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert f"`{at}`" in error["message"]


@pytest.mark.parametrize("number", ["1e400", "-1" + "0" * 400])
@pytest.mark.parametrize("query", ["results", "resultsSummary"])
def test_a_bound_that_no_double_can_be_is_refused(measured: Measured, query: str, number: str) -> None:
    """As it is in a variable; it would be taken for infinity."""
    field = "totalCount" if query == "results" else "results"
    asked = f"{{ {query}(filter: {{standardDeviation: {{gte: {number}}}}}) {{ {field} }} }}"

    (error,) = measured.stack.post_graphql(asked, key=measured.key).json()["errors"]

    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert "expected a finite number - at `standardDeviation.gte`" in error["message"]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("query", [PAGE, SAMPLES], ids=["results", "samples"])
def test_a_cursor_with_a_time_beyond_all_times_is_refused(measured: Measured, query: str, text: str) -> None:
    """It has an offset that leads out of the years 1 to 9999."""
    places = {PAGE: [text, 1, 1.0, 1.0, 1.0, 1.0], SAMPLES: [text]}
    order = {PAGE: "-timestamp", SAMPLES: "-submitted_at"}[query]
    cursors = {
        made_cursor(text, measured.receipts[0]["id"], order, places[query]),
        made_cursor("2020-01-01T00:00:00Z", measured.receipts[0]["id"], order, places[query]),
    }

    for cursor, (size, argument) in product(cursors, {"first": "after", "last": "before"}.items()):
        answer = measured.stack.post_graphql(query, {size: 1, argument: cursor}, key=measured.key).json()
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "BAD_REQUEST"
        assert f"`{argument}`" in error["message"]


def made_cursor(*parts: object) -> str:
    """Return what looks like a cursor."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(parts)).decode().rstrip("=")


@pytest.mark.parametrize("argument", ["after", "before"])
def test_a_cursor_of_another_list_is_refused(measured: Measured, argument: str) -> None:
    """It would skip results in silence."""
    cursor = measured.page(first=1, orderBy={"field": "MEAN"})["pageInfo"]["endCursor"]

    others: list[dict[str, Any]] = [
        {"orderBy": {"field": "COUNT"}},
        {"orderBy": {"field": "MEAN", "direction": "DESC"}},
        {"orderBy": {"field": "MEDIAN"}},
    ]

    for other in others:
        answer = measured.stack.post_graphql(PAGE, {argument: cursor, **other}, key=measured.key).json()
        assert f"same order - at `{argument}`" in answer["errors"][0]["message"]
