"""Orders, cursors and filters that a query combines on the same fields."""

from typing import Any

import pytest
from google.cloud.firestore import CollectionReference, FieldFilter

LONG = "x" * 1499
"""As an operand, the longest text that a filter accepts. An index contains only a part of it."""


def ids(query: Any) -> list[str]:
    """Return the ids of the results."""
    return [document.id for document in query.get()]


@pytest.mark.parametrize("direction", ["ASCENDING", "DESCENDING"])
def test_a_cursor_on_a_field_with_a_fixed_value_selects_all_or_nothing(
    collection: CollectionReference, direction: str
) -> None:
    """The cursor is before, at or after the one value that all results have."""
    for each in "ab":
        collection.document(each).set({"n": 5})
    query: Any = collection.where(filter=FieldFilter("n", "==", 5)).order_by("n", direction=direction)
    before, after = (4, 6) if direction == "ASCENDING" else (6, 4)

    assert len(query.start_at([before]).get()) == len(query.end_at([after]).get()) == 2
    assert len(query.start_at([after]).get()) == len(query.end_at([before]).get()) == 0
    assert len(query.start_at([5]).get()) == len(query.end_at([5]).get()) == 2
    assert len(query.start_after([5]).get()) == len(query.end_before([5]).get()) == 0


def test_the_field_of_an_inequality_is_sorted_like_the_last_order(collection: CollectionReference) -> None:
    """The query does not name this field as an order."""
    for number in range(3):
        collection.document(str(number)).set({"group": 1, "n": number})

    ascending: Any = collection.where(filter=FieldFilter("n", ">", 0)).order_by("group")
    descending: Any = collection.where(filter=FieldFilter("n", ">", 0)).order_by("group", direction="DESCENDING")

    assert ids(ascending) == ["1", "2"]
    assert ids(descending) == ["2", "1"]


def test_names_can_have_another_direction_than_a_field(collection: CollectionReference) -> None:
    """An index of this field alone cannot be read in either direction."""
    for each, number in (("a", 1), ("b", 1), ("c", 2)):
        collection.document(each).set({"n": number})

    assert ids(collection.order_by("n").order_by("__name__", direction="DESCENDING")) == ["b", "a", "c"]
    assert ids(collection.order_by("n", direction="DESCENDING").order_by("__name__")) == ["c", "a", "b"]


def test_names_have_the_direction_of_the_last_order(collection: CollectionReference) -> None:
    """Unless the query orders by names itself."""
    for each in "ab":
        collection.document(each).set({"group": 1, "n": 1})

    assert ids(collection.order_by("group", direction="DESCENDING").order_by("n")) == ["a", "b"]
    assert ids(collection.order_by("group").order_by("n", direction="DESCENDING")) == ["b", "a"]


def test_two_values_of_one_field_match_nothing(collection: CollectionReference) -> None:
    """A document has only one of them, so its index entry is not sufficient."""
    for number in range(3):
        collection.document(str(number)).set({"n": number})

    query: Any = collection.where(filter=FieldFilter("n", "==", 1)).where(filter=FieldFilter("n", "==", 2))

    assert ids(query) == []
    assert query.count().get()[0][0].value == 0


def test_a_range_compares_the_ends_of_long_texts(collection: CollectionReference) -> None:
    """The index entries of these texts are equal. Zeros take two bytes of an entry."""
    zeros = "\0" * 1000
    for each in (LONG, f"{LONG}a", f"{zeros}a", f"{zeros}b", f"{zeros}c"):
        collection.add({"text": each})

    def found(operator: str, operand: str) -> set[Any]:
        query: Any = collection.where(filter=FieldFilter("text", operator, operand))
        return {document.get("text") for document in query.get()}

    assert found(">", LONG) == {f"{LONG}a"}
    assert found(">=", LONG) == {LONG, f"{LONG}a"}
    assert found("<", f"{zeros}b") == {f"{zeros}a"}
    assert found("<=", f"{zeros}b") == {f"{zeros}a", f"{zeros}b"}
