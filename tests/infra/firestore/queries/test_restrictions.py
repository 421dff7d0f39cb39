"""Combinations of filters and orders that production rejects."""

import re
from typing import Any

import grpc
import pytest

from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.messages import StructuredQuery
from infra.embedded.firestore.queries import structured_query

ROOT = "projects/p/databases/(default)/documents"
LESS, EQUAL, NOT_EQUAL, CONTAINS, IN, NOT_IN = (1, 5, 6, 7, 8, 10)
AND, OR = (1, 2)


def condition(path: str, operator: int) -> Any:
    """Return a filter on one field."""
    made = StructuredQuery.Filter()
    made.field_filter.field.field_path, made.field_filter.op = path, operator
    value = made.field_filter.value
    if operator in (IN, NOT_IN):
        value = value.array_value.values.add()
    if path == "__name__":
        value.reference_value = f"{ROOT}/a/x"
    else:
        value.integer_value = 1
    return made


def rejection(
    conditions: list[Any], orders: str = "", aggregated: tuple[str, ...] = (), joined: int = AND
) -> StatusError:
    """Return the error of a query."""
    message = StructuredQuery(from_=[{"collection_id": "a"}])
    if conditions:
        message.where.composite_filter.op = joined
        message.where.composite_filter.filters.extend(conditions)
    for text in orders.split():
        message.order_by.add(direction=2 if text[0] == "-" else 1).field.field_path = text.lstrip("-")
    with pytest.raises(StatusError) as raised:
        structured_query.read(ROOT, message, [(path,) for path in aggregated])
    return raised.value


@pytest.mark.parametrize(
    ("conditions", "orders", "aggregated", "words"),
    [
        ([("a", NOT_EQUAL), ("b", NOT_IN)], "", (), "Only a single 'NOT_EQUAL'"),
        ([("a", NOT_IN), ("b", IN)], "", (), "'NOT_IN' cannot be used"),
        ([("__name__", CONTAINS)], "", (), "the name __key__ is reserved"),
        ([("a", LESS), ("__name__", EQUAL)], "", (), "Equality on key is not allowed"),
        ([], "__name__ a", (), "cannot contain more fields after the key"),
        ([("a", LESS)], "__name__", (), "cannot contain more fields after the key"),
        ([], "__name__", ("a",), r"has fields \[a\] after __name__"),
        ([("__name__", LESS)], "", ("a",), r"has fields \[a\] after __name__"),
        ([("__name__", EQUAL)], "", ("a",), r"has fields \[a\] after __name__"),
    ],
)
def test_conflicting_filters_and_orders_are_rejected(
    conditions: list[tuple[str, int]], orders: str, aggregated: tuple[str, ...], words: str
) -> None:
    """With a code that tells clients not to retry, and in production's words."""
    error = rejection([condition(*each) for each in conditions], orders, aggregated)

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert re.search(words, error.message)


def test_an_or_with_one_condition_is_an_or() -> None:
    """Production rejects NOT_IN together with any OR."""
    error = rejection([condition("a", NOT_IN)], joined=OR)

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT


def test_descending_name_order_requires_a_filter_on_another_field() -> None:
    """Only such a filter has an index in which names descend."""
    error = rejection([], "-__name__")

    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (
        structured_query.read(
            ROOT,
            StructuredQuery(
                from_=[{"collection_id": "a"}],
                where=condition("a", EQUAL),
                order_by=[{"field": {"field_path": "__name__"}, "direction": 2}],
            ),
        )
        .orders[0]
        .descending
    )


def test_the_length_of_a_field_path_is_checked_first() -> None:
    """A path of several MiB would otherwise be parsed, and all other calls would wait."""
    error = rejection([], "a." * 1000)

    assert "longer than 1500 bytes" in error.message
