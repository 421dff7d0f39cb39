"""Transforms with an operand that equals the stored number but has another type."""

from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.firestore import CollectionReference


@pytest.mark.parametrize("transform", [firestore.Maximum, firestore.Minimum])
@pytest.mark.parametrize(("stored", "operand"), [(1, 1.0), (1.0, 1), (0, -0.0), (-0.0, 0.0)])
def test_a_maximum_or_minimum_of_equal_numbers_keeps_the_stored_one(
    collection: CollectionReference, transform: Any, stored: float, operand: float
) -> None:
    """The type and the sign of zero stay, so the document does not change."""
    document = collection.document()
    written = document.set({"n": stored})

    changed = document.update({"n": transform(operand)})

    assert repr(document.get().get("n")) == repr(stored)
    assert changed.update_time == written.update_time
