"""Filters that reach to the end of a kind of values."""

import math
from typing import Any

import pytest
from google.cloud.firestore import CollectionReference, FieldFilter

ENDS: dict[str, tuple[list[Any], Any]] = {
    "numbers": ([-math.inf, -1.7e308, 1.7e308, math.inf], 0),
    "booleans": ([False], True),
    "texts": (["", "\0", "\U0010ffff"], "a"),
    "bytes": ([b"", b"\0", b"\xff", b"\xff\xff\0"], b"a"),
    "lists": ([[], [b"\xff"]], [1]),
    "maps": ([{}, {"\U0010ffff": 1}], {"a": 1}),
}


@pytest.mark.parametrize("directions", ["ASCENDING ASCENDING", "DESCENDING ASCENDING", "ASCENDING DESCENDING"])
@pytest.mark.parametrize("kind", ENDS)
def test_a_range_that_is_open_on_one_side_has_every_value_on_that_side(
    collection: CollectionReference, kind: str, directions: str
) -> None:
    """The greatest and the least, by the index of the field and by composite ones that rise and fall."""
    stored, operand = ENDS[kind]
    for number, value in enumerate([*stored, operand, None, math.nan]):
        collection.document(str(number)).set({"value": value, "other": 1})
    first, second = directions.split()

    def found(operator: str) -> list[Any]:
        query: Any = collection.where(filter=FieldFilter("value", operator, operand)).order_by("value", direction=first)
        (count,) = query.count().get()[0]
        documents = query.order_by("other", direction=second).get()
        assert count.value == len(documents) == len(query.get())
        return [document.get("value") for document in documents]

    together = found("<") + found(">=")

    assert len(together) == len(stored) + 1
    assert all(value in together for value in [*stored, operand])
