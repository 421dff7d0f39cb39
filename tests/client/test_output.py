"""The encoding of the output. These tests need no server."""

import csv
import io
import json
import sys

import pytest

from dropzone.command import output
from dropzone.command.output import Format, RowPrinter

LABELS = {"site": "zürich 👩"}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_json_is_valid_in_each_encoding_of_standard_output(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python escapes unknown characters in another way than JSON. A label can contain any character."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    output.prepare()
    printer = RowPrinter(Format.CSV, ["labels"], {})

    output.print_line({"labels": LABELS})
    printer.add({"labels": LABELS}, [])
    sys.stdout.flush()
    text = written.getvalue().decode(encoding)
    line, *table = text.splitlines()

    assert json.loads(line) == {"labels": LABELS}
    assert json.loads(next(csv.DictReader(table))["labels"]) == LABELS
    assert ("👩" in text) == (encoding == "utf-8")
