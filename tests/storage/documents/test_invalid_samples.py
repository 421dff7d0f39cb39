"""Each file of fixture/invalid/ has one fault; fixture/invalid.json says which one and where."""

import json
from pathlib import Path

import pytest

from storage.documents import NotJson, payload

INVALID = Path("fixture/invalid")
EXPECTED = json.loads(Path("fixture/invalid.json").read_text())


def test_every_invalid_file_is_expected() -> None:
    """A fault without an expectation would be no test."""
    assert sorted(path.name for path in INVALID.iterdir()) == sorted(EXPECTED)


@pytest.mark.parametrize(("name", "expected"), [(n, e) for n, e in EXPECTED.items() if "path" in e])
def test_a_fault_is_named_with_its_path_and_code(name: str, expected: dict[str, str]) -> None:
    """A publisher reads where the fault is and of which kind."""
    inspection = payload.inspect((INVALID / name).read_bytes())

    assert [{"path": p.path, "code": p.code} for p in inspection.problems] == [expected]
    assert all(len(p.message) < 200 for p in inspection.problems)


@pytest.mark.parametrize("name", [n for n, e in EXPECTED.items() if "path" not in e])
def test_what_is_no_json_is_no_sample(name: str) -> None:
    """There is nothing to keep, and the message says where the text breaks off."""
    with pytest.raises(NotJson, match="not JSON"):
        payload.inspect((INVALID / name).read_bytes())
