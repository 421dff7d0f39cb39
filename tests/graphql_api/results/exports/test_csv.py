"""A CSV file has the values of a batch, as a CSV reader reads them."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.results.exports.columns import COLUMNS, FLAT_COLUMNS, INTEGERS, TIMES
from graphql_api.results.exports.formats import Csv
from storage.documents import timestamps

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE_NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def value(column: str) -> st.SearchStrategy[Any]:
    """Return the values of a column. Numbers can be missing."""
    if column == "labels":
        return st.dictionaries(TEXTS, TEXTS, max_size=2)
    if column in TIMES:
        return st.none() | st.datetimes(timezones=st.just(UTC))
    if column == "id":
        return st.uuids().map(str)
    return st.none() | (WHOLE_NUMBERS if column in INTEGERS else FLOATS)


ROWS = st.lists(st.fixed_dictionaries({name: value(name) for name in COLUMNS}), max_size=4)


def written(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the rows of the file that has `rows`, as texts by column."""
    file = Csv()
    content = file.write({name: [row[name] for row in rows] for name in COLUMNS}) + file.finish()
    return [*csv.DictReader(io.StringIO(content.decode(), newline=""))]


def read(column: str, text: str) -> Any:
    """Return the value that a text of a column stands for."""
    if column == "labels":
        return orjson.loads(text or "{}")
    if column == "id" or not text:
        return text or None
    if column in TIMES:
        return timestamps.parse(text)
    return int(text) if column in INTEGERS else float(text)


@given(ROWS)
def test_a_file_has_all_values_with_all_digits(rows: list[dict[str, Any]]) -> None:
    read_rows = [{name: read(name, row[name]) for name in FLAT_COLUMNS} for row in written(rows)]

    assert read_rows == [{name: row[name] for name in FLAT_COLUMNS} for row in rows]


def test_a_damaged_value_is_written_as_it_is_stored() -> None:
    time = datetime(2019, 5, 1, tzinfo=UTC)
    rows = [dict.fromkeys(COLUMNS) | {"id": "a", "labels": {}, "mean": "a,b", "median": 1.5}]
    rows.append(rows[0] | {"id": "b", "mean": 2.5, "median": time, "maximum": [1.0, 2.0], "minimum": b"x"})

    first, second = written(rows)

    assert (first["mean"], first["median"], first["maximum"]) == ("a,b", "1.5", "")
    assert (second["mean"], second["median"], second["maximum"]) == ("2.5", str(time), "[1.0, 2.0]")
    assert second["minimum"] == "b'x'"
