"""Each file of fixture/invalid/ has one problem; fixture/invalid.json holds its path and code."""

import json
from pathlib import Path

import pytest

from storage.documents import NotJson
from storage.documents.validation import payload

INVALID = Path("fixture/invalid")
EXPECTED = json.loads(Path("fixture/invalid.json").read_text())


def test_every_invalid_file_is_expected() -> None:
    """Every file has an expectation, and every expectation has a file."""
    assert sorted(path.name for path in INVALID.iterdir()) == sorted(EXPECTED)


@pytest.mark.parametrize(("name", "expected"), [(n, e) for n, e in EXPECTED.items() if "path" in e])
def test_a_problem_has_a_path_and_a_code(name: str, expected: dict[str, str]) -> None:
    """They tell a publisher where the problem is and of which kind."""
    report = payload.validate((INVALID / name).read_bytes())

    assert [{"path": p.path, "code": p.code} for p in report.problems] == [expected]
    assert all(len(p.message) < 200 for p in report.problems)


@pytest.mark.parametrize("name", [n for n, e in EXPECTED.items() if "path" not in e])
def test_text_that_is_not_json_is_rejected(name: str) -> None:
    """It cannot be stored as a sample."""
    with pytest.raises(NotJson, match="not JSON"):
        payload.validate((INVALID / name).read_bytes())


def test_the_problem_of_an_empty_string_names_an_empty_string() -> None:
    """Without the words, the message ends in the middle of a sentence."""
    report = payload.validate(b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [""]}')

    assert [problem.message for problem in report.problems] == ["expected a number, got an empty string"]


@pytest.mark.parametrize("raw", [b"", b" \r\n"])
def test_an_empty_body_is_not_a_truncated_text(raw: bytes) -> None:
    """A client may have read a file that does not exist."""
    with pytest.raises(NotJson, match=r"^not JSON: the body is empty; send an object with `time_stamp` and `data`$"):
        payload.validate(raw)
