"""Labels of a sample: what is valid, what is reported with a path, and the terms that find a sample."""

import json
import tracemalloc
from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.documents import Arrival, Header, ProblemCode, labels
from storage.documents.validation import payload
from tests.received import received_sample

names = st.from_regex(labels.NAME_PATTERN, fullmatch=True)
printable = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
values = st.text(printable, min_size=1, max_size=64)
valid_labels = st.dictionaries(names, values, max_size=labels.MAX_LABELS)


def sample(**members: object) -> bytes:
    """Return a sample with one number and `members`, and with `data` before the members."""
    return json.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": [1.5]} | members).encode()


def problems(given_labels: object) -> list[tuple[str, ProblemCode]]:
    """Return the paths and codes of the problems of a sample with these labels."""
    return [(problem.path, problem.code) for problem in payload.validate(sample(labels=given_labels)).problems]


@given(valid_labels, st.booleans())
@example({"site": "zürich", "s1": "\\u0031"}, True)
def test_both_readers_return_the_same_labels(given_labels: dict[str, str], ascii_only: bool) -> None:
    """Escapes in the text do not change the labels."""
    members = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1.5], "labels": given_labels}
    raw = json.dumps(members, ensure_ascii=ascii_only).encode()

    quick = payload.validate_quickly(raw)

    assert payload.validate_thoroughly(raw).labels == given_labels
    assert quick is None or quick.labels == given_labels
    assert payload.read(raw).labels == given_labels


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text()), max_size=8))
def test_labels_are_valid_or_have_problems(given_labels: dict[str, object]) -> None:
    """The reader accepts exactly the valid labels."""
    raw = json.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": [1.5], "labels": given_labels}).encode()
    strings = {name: value for name, value in given_labels.items() if isinstance(value, str)}
    are_valid = len(strings) == len(given_labels) and labels.are_valid(strings)

    report = payload.validate(raw)

    assert (not report.problems, report.labels) == (are_valid, strings if are_valid else {})
    assert all(problem.path.startswith("$.labels") for problem in report.problems)


@pytest.mark.parametrize(
    ("given_labels", "expected"),
    [
        ("zurich", [("$.labels", "WRONG_TYPE")]),
        ([], [("$.labels", "WRONG_TYPE")]),
        ({"site": 5, "unit": "V"}, [("$.labels.site", "WRONG_TYPE")]),
        ({"site": ""}, [("$.labels.site", "EMPTY")]),
        ({"site": "x" * 65}, [("$.labels.site", "TOO_LONG")]),
        ({"site": "x" * 100_000}, [("$.labels.site", "TOO_LONG")]),
        ({"site": "a\nb"}, [("$.labels.site", "INVALID_LABEL")]),
        *(
            ({"site": f"a{mark}b"}, [("$.labels.site", "INVALID_LABEL")])
            for mark in "\u202e\u2066\u200b\u200f\ufeff\U000e0061"
        ),
        ({"site": "\u200dzurich"}, [("$.labels.site", "INVALID_LABEL")]),
        ({"site": "zurich\u200c"}, [("$.labels.site", "INVALID_LABEL")]),
        ({"site": "a\u200d\u200db"}, [("$.labels.site", "INVALID_LABEL")]),
        ({"site": "\u200d"}, [("$.labels.site", "INVALID_LABEL")]),
        ({"site": "👩\u200d🔬", "city": "क्\u200cष"}, []),
        ({"Site": "a"}, [("$.labels", "INVALID_LABEL")]),
        ({"x" * 33: "a"}, [("$.labels", "INVALID_LABEL")]),
        (dict.fromkeys("abcde", "a"), [("$.labels", "INVALID_LABEL")]),
        (None, []),
        ({}, []),
    ],
)
def test_a_problem_of_a_label_has_a_path(given_labels: object, expected: list[tuple[str, str]]) -> None:
    """A publisher finds the label that is wrong."""
    assert problems(given_labels) == expected


@pytest.mark.parametrize("repeated", ['"s1": "a", "s1": "b"', r'"s1": "a", "s\u0031": "b"'])
def test_a_label_twice_is_a_problem(repeated: str) -> None:
    """Readers of JSON disagree about which value counts."""
    raw = sample().replace(b'"data"', f'"labels": {{{repeated}}}, "data"'.encode())

    assert [(each.path, each.code) for each in payload.validate(raw).problems] == [
        ("$.labels.s1", ProblemCode.DUPLICATE_KEY)
    ]


def test_a_sample_from_before_labels_existed_is_still_computed() -> None:
    """Its member `labels` could be anything. Invalid labels are left out."""
    read = payload.read(sample(labels=["old", "sensor"]))

    assert (list(read.data), read.labels) == ([1.5], {})


@given(valid_labels, valid_labels)
def test_one_term_finds_the_samples_with_all_given_labels(stored: dict[str, str], wanted: dict[str, str]) -> None:
    """The term of the wanted labels is among the terms of a sample exactly if the sample has these labels."""
    if wanted:
        assert (labels.term(wanted) in labels.index_terms(stored)) == (wanted.items() <= stored.items())
    for size in range(1, len(stored) + 1):
        for part in combinations(stored.items(), size):
            assert labels.term(dict(part)) in labels.index_terms(stored)


@given(valid_labels)
def test_labels_of_a_stored_header_round_trip(given_labels: dict[str, str]) -> None:
    """A header without labels has no field for them."""
    header = received_sample(sample(labels=given_labels), submitter="alice").header

    assert Header.from_fields("alice", header.id, header.fields() | {"submitted_at": None}).labels == given_labels
    assert ("label_terms" in header.fields()) == bool(given_labels)
    assert len(labels.index_terms(given_labels)) == 2 ** len(given_labels) - 1


def test_a_label_of_a_sample_takes_precedence_over_that_of_its_request() -> None:
    """The labels of a request are defaults."""
    raw = sample(labels={"site": "bern"})

    accepted = received_sample(raw, submitter="alice", default_labels={"site": "zurich", "unit": "V"}).header
    rejected = received_sample(raw, submitter="alice", default_labels=dict.fromkeys("abcd", "x")).header

    assert (accepted.arrival, accepted.labels) == (Arrival.ACCEPTED, {"site": "bern", "unit": "V"})
    assert (rejected.arrival, rejected.labels) == (Arrival.REJECTED, {"site": "bern"})
    assert [problem.path for problem in rejected.problems] == ["$.labels"]


def test_the_terms_of_many_labels_keep_little_memory() -> None:
    """A client can send any number of long labels, with new values in each sample."""
    tracemalloc.start()
    try:
        for number in range(1_000):
            labels.index_terms({f"{letter}{'x' * 31}": f"{number:04}{'😀' * 60}" for letter in "abcd"})
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < 5_000_000


@pytest.mark.parametrize("given_labels", [{"unit": "a=b"}, {"site": "zurich", "unit": "=", "room": "1"}])
def test_the_labels_of_a_term_are_the_labels_from_which_it_was_made(given_labels: dict[str, str]) -> None:
    """A value may contain the sign between a name and its value."""
    assert labels.from_term(labels.term(given_labels)) == given_labels
