"""Range filters that are open on one side, for values of each type."""

import math
from typing import Any

import pytest
from google.cloud.firestore import CollectionReference, FieldFilter

VALUES: dict[str, tuple[list[Any], Any]] = {
    "numbers": ([-math.inf, -1.7e308, 1.7e308, math.inf], 0),
    "booleans": ([False], True),
    "texts": (["", "\0", "\U0010ffff"], "a"),
    "bytes": ([b"", b"\0", b"\xff", b"\xff\xff\0"], b"a"),
    "lists": ([[], [b"\xff"]], [1]),
    "maps": ([{}, {"\U0010ffff": 1}], {"a": 1}),
}


@pytest.mark.parametrize("directions", ["ASCENDING ASCENDING", "DESCENDING ASCENDING", "ASCENDING DESCENDING"])
@pytest.mark.parametrize("value_type", VALUES)
def test_an_open_range_includes_the_extreme_values(
    collection: CollectionReference, value_type: str, directions: str
) -> None:
    """Through single-field indexes and through composite indexes in both directions."""
    stored, operand = VALUES[value_type]
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
