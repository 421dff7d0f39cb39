"""The fields of stored documents are read with their types."""

from datetime import UTC, datetime

import pytest

from storage.documents.stored_fields import read_integer, read_optional_text, read_optional_time, read_time

TIME = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_missing_field_has_its_default() -> None:
    """Earlier releases did not store every field."""
    assert read_integer({"count": 3}, "count") == 3
    assert read_integer({}, "chunks", 0) == 0
    assert (read_optional_text({}, "label"), read_optional_text({"label": None}, "label")) == (None, None)
    assert (read_optional_time({}, "expire_at"), read_optional_time({"expire_at": TIME}, "expire_at")) == (None, TIME)
    assert read_time({"computed_at": TIME}, "computed_at") == TIME


@pytest.mark.parametrize("value", ["3", 3.0, True, None])
def test_a_value_of_another_type_is_an_error_that_names_the_field(value: object) -> None:
    """The log then shows which field of a damaged document must be repaired."""
    with pytest.raises(TypeError, match=r"expected an integer, got .* - at `count`"):
        read_integer({"count": value}, "count", 0)
    with pytest.raises(TypeError, match=r"expected a time, got .* - at `computed_at`"):
        read_time({"computed_at": value}, "computed_at")


def test_a_missing_required_field_is_an_error_that_names_the_field() -> None:
    """A field without a default is in every document of its kind."""
    for read in (read_integer, read_time):
        with pytest.raises(KeyError, match="computed_at"):
            read({}, "computed_at")
