"""Pages of Relay connections, read forward and backward, never shift."""

import base64
from datetime import UTC, datetime
from itertools import product
from operator import itemgetter
from typing import Any

import msgspec
import pytest
from google.cloud.firestore import DELETE_FIELD

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results import sharded_query
from graphql_api.results.filters import Bound, Order, Selection
from graphql_api.results.pagination import PageRequest
from graphql_api.results.result_listing import ResultListing
from storage.documents import document_paths
from storage.firestore.client import Firestore
from tests.graphql_api.results.measured import FIELDS, PAGE, SAMPLES, Measured, write_results
from tests.stack import Stack

STATES = {"COMPUTED": 60, "REJECTED": 2, "PENDING": 0, "FAILED": 0}


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", FIELDS)
def test_pages_in_any_order_hold_every_result_once(measured: Measured, field: str, direction: str) -> None:
    """Equal values are ordered by the other fields and finally by id, so no page shifts in either direction."""
    order = {"field": field, "direction": direction}
    names = [FIELDS[field], *(name for name in FIELDS.values() if name != "median"), "id"]
    ordered = sorted(measured.results, key=itemgetter(*names), reverse=direction == "DESC")
    expected = [result["id"] for result in ordered]

    assert measured.pages(13, orderBy=order) == expected
    assert measured.pages_backward(13, orderBy=order) == expected


def test_results_are_in_the_order_in_which_they_were_computed(measured: Measured) -> None:
    """The reverse order is the exact reverse."""
    newest_first = measured.pages(25, orderBy={"field": "COMPUTED_AT", "direction": "DESC"})

    assert newest_first == measured.pages(25, orderBy={"field": "COMPUTED_AT"})[::-1]
    assert sorted(newest_first) == sorted(result["id"] for result in measured.results)


def test_an_order_that_leaves_out_results_does_not_count_them(stack: Stack) -> None:
    """Results of the first release lack the median."""
    key = stack.new_key("without-medians")
    write_results(stack, "without-medians", [datetime(2020, 1, day, tzinfo=UTC) for day in (1, 2, 3)])
    stored = stack.firestore().collection(f"{document_paths.submitter('without-medians')}/{document_paths.RESULTS}")
    next(iter(stored.list_documents())).update({"median": DELETE_FIELD})

    def counted(field: str) -> tuple[int, int]:
        query = f"{{ results(orderBy: {{field: {field}}}) {{ edges {{ cursor }} totalCount }} }}"
        page = stack.graphql(query, key=key)["results"]
        return len(page["edges"]), page["totalCount"]

    assert counted("MEDIAN") == (2, 2)
    assert counted("MEAN") == counted("TIMESTAMP") == counted("COMPUTED_AT") == (3, 3)


@pytest.mark.parametrize("measured", ["one_shard"], indirect=True, ids=["one shard"])
def test_every_combination_of_order_and_ranges_has_its_index(measured: Measured) -> None:
    """Firestore rejects a query without an index, and so does the embedded Firestore."""
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
    """Firestore rejects a query of samples without an index."""
    for state, time in product([None, *STATES], [None, {"gte": "2020-01-01T00:00:00Z"}]):
        query = {"filter": {"state": state, "submittedAt": time}}
        ids = measured.pages(25, SAMPLES, **query)

        assert len(ids) == len(set(ids)) == (62 if state is None else STATES[state])
        assert measured.pages_backward(25, SAMPLES, **query) == ids


@pytest.mark.parametrize("measured", ["one_shard"], indirect=True, ids=["one shard"])
async def test_a_page_by_a_range_of_medians_has_as_many_results_as_requested(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Firestore checks the range in the order of time. In other orders, the API reads a limited number of results."""
    for name, value in measured.stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sharded_query, "_FILTERED_BATCH_SIZE", 2)
    monkeypatch.setattr(sharded_query, "_MAX_SCANNED", 2)
    selection = Selection([Bound("median", ">=", 3.0)])
    expected = [each["id"] for each in measured.results if each["median"] >= 3]  # the latest time stamps come first
    assert 5 < len(expected) < 30

    firestore = Firestore.connect(timeout_seconds=30)
    listing = ResultListing(firestore, LoopTurns(), shards=1)
    pages = [
        await listing.page("measured", selection, order, PageRequest(5))
        for order in (Order("timestamp", descending=True), Order("mean"))
    ]
    await firestore.close()

    assert [result.sample_id for _, result in pages[0].edges] == expected[:5]
    assert [len(page.edges) for page in pages] == [5, 0]
    assert [page.has_more for page in pages] == [True, True]


def test_a_page_between_two_cursors_ends_before_the_second(measured: Measured) -> None:
    """`hasNextPage` and `hasPreviousPage` refer to the documents between the cursors and outside them."""
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


def test_an_empty_page_reports_its_neighbors(measured: Measured) -> None:
    """No result follows the last one, but others precede it."""
    cursor = measured.page(last=1)["edges"][0]["cursor"]

    after_last, of_size_0 = measured.page(first=3, after=cursor), measured.page(first=0)

    assert after_last["edges"] == of_size_0["edges"] == []
    assert (after_last["pageInfo"]["hasPreviousPage"], after_last["pageInfo"]["hasNextPage"]) == (True, False)
    assert (of_size_0["pageInfo"]["hasPreviousPage"], of_size_0["pageInfo"]["hasNextPage"]) == (False, True)


@pytest.mark.parametrize(("state", "count"), STATES.items())
def test_samples_are_listed_and_counted_by_state(measured: Measured, state: str, count: int) -> None:
    """The number of samples agrees with the list."""
    page = measured.page(SAMPLES, filter={"state": state}, first=100)

    assert [edge["node"]["state"] for edge in page["edges"]] == [state] * count
    assert page["totalCount"] == count


def test_without_a_state_all_samples_are_listed(measured: Measured) -> None:
    """The list includes rejected samples."""
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
def test_an_invalid_page_argument_is_rejected_by_name(measured: Measured, query: str, variables: Any, at: str) -> None:
    """The response is an error, not an empty page."""
    response = measured.stack.post_graphql(query, variables, key=measured.key).json()

    (error,) = response["errors"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert f"`{at}`" in error["message"]


@pytest.mark.parametrize("number", ["1e400", "-1" + "0" * 400])
@pytest.mark.parametrize("query", ["results", "resultsSummary"])
def test_a_bound_outside_the_range_of_a_double_is_rejected(measured: Measured, query: str, number: str) -> None:
    """It would otherwise be read as infinity. A variable with such a value is rejected too."""
    field = "totalCount" if query == "results" else "results"
    document = f"{{ {query}(filter: {{standardDeviation: {{gte: {number}}}}}) {{ {field} }} }}"

    (error,) = measured.stack.post_graphql(document, key=measured.key).json()["errors"]

    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert "expected a finite number - at `standardDeviation.gte`" in error["message"]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("query", [PAGE, SAMPLES], ids=["results", "samples"])
def test_a_cursor_with_a_time_outside_the_valid_years_is_rejected(measured: Measured, query: str, text: str) -> None:
    """Its offset moves the time out of the years 1 to 9999 in UTC."""
    values = {PAGE: [text, 1, 1.0, 1.0, 1.0, 1.0], SAMPLES: [text]}
    order = {PAGE: "-timestamp", SAMPLES: "-submitted_at"}[query]
    cursors = {
        encode_cursor(text, measured.receipts[0]["id"], order, values[query]),
        encode_cursor("2020-01-01T00:00:00Z", measured.receipts[0]["id"], order, values[query]),
    }

    for cursor, (size, argument) in product(cursors, {"first": "after", "last": "before"}.items()):
        response = measured.stack.post_graphql(query, {size: 1, argument: cursor}, key=measured.key).json()
        (error,) = response["errors"]
        assert error["extensions"]["code"] == "BAD_REQUEST"
        assert f"`{argument}`" in error["message"]


def test_a_long_cursor_is_rejected_before_it_is_decoded(measured: Measured) -> None:
    """A request can contain hundreds of cursors of 1 MB. No cursor of a response is long."""
    cursor = encode_cursor("2020-01-01T00:00:00Z", measured.receipts[0]["id"], "a" * 1_000, [])

    response = measured.stack.post_graphql(PAGE, {"after": cursor}, key=measured.key).json()

    assert response["errors"][0]["message"] == "expected a cursor from an earlier response - at `after`"


def encode_cursor(*parts: object) -> str:
    """Return a cursor with these parts."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(parts)).decode().rstrip("=")


@pytest.mark.parametrize("argument", ["after", "before"])
def test_a_cursor_of_another_order_is_rejected(measured: Measured, argument: str) -> None:
    """It would silently skip results."""
    cursor = measured.page(first=1, orderBy={"field": "MEAN"})["pageInfo"]["endCursor"]

    others: list[dict[str, Any]] = [
        {"orderBy": {"field": "COUNT"}},
        {"orderBy": {"field": "MEAN", "direction": "DESC"}},
        {"orderBy": {"field": "MEDIAN"}},
    ]

    for other in others:
        response = measured.stack.post_graphql(PAGE, {argument: cursor, **other}, key=measured.key).json()
        assert f"same order and filter - at `{argument}`" in response["errors"][0]["message"]
