"""Nulls in the values of a sample: problems, unless the sample asks to skip them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.documents import Arrival, ProblemCode
from storage.documents.validation import json_scanner, payload
from tests.received import received_sample

values = st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9), min_size=1)


def sample(data: object, **members: object) -> bytes:
    """Return a sample with these values."""
    return json.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": data} | members).encode()


def problems(raw: bytes) -> list[tuple[str, str]]:
    """Return the paths and codes of the problems."""
    return [(problem.path, problem.code) for problem in payload.validate(raw).problems]


@given(values)
def test_nulls_are_counted_and_left_out(data: list[float | None]) -> None:
    """The statistics are those of the numbers."""
    numbers = [value for value in data if value is not None]
    raw = sample(data, missing="skip")

    report = payload.validate(raw)

    if not numbers:
        assert problems(raw) == [("$.data", ProblemCode.EMPTY)]
        return
    read = payload.read(raw)
    assert (list(read.data), read.missing_count) == (numbers, len(data) - len(numbers))
    assert (report.count, report.missing_count, report.problems) == (len(numbers), len(data) - len(numbers), ())


def test_nulls_in_any_piece_of_a_large_sample_are_counted() -> None:
    """The values are decoded in pieces."""
    data = [0.5, None] * json_scanner.PIECE_BYTES
    header = received_sample(sample(data, missing="skip"), submitter="alice").header

    assert (header.arrival, header.count, header.missing_count) == (Arrival.ACCEPTED, len(data) // 2, len(data) // 2)
    assert header.fields()["missing_count"] == len(data) // 2


def test_without_the_member_a_null_is_a_problem() -> None:
    """A publisher that does not expect gaps learns of them."""
    assert problems(sample([1, None, "x"])) == [("$.data[1]", "WRONG_TYPE"), ("$.data[2]", "WRONG_TYPE")]
    assert problems(sample([1, None, "x"], missing="skip")) == [("$.data[2]", "WRONG_TYPE")]


@pytest.mark.parametrize("missing", ["drop", 5, [], True])
def test_an_unknown_way_to_treat_missing_values_is_a_problem(missing: object) -> None:
    """Samples of earlier releases could have any member of this name, so they are still computed."""
    raw = sample([1.5], missing=missing)

    assert problems(raw) == [("$.missing", "WRONG_TYPE")]
    assert list(payload.read(raw).data) == [1.5]
