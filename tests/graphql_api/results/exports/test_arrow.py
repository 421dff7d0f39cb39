"""Record batches in the Arrow format contain the rows, as pyarrow reads them."""

import io
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.results.exports.columns import COLUMNS, HISTOGRAMS, INTEGERS, TIMES, Batch
from graphql_api.results.exports.formats import Arrow, Parquet
from storage.documents import timestamps

polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE_NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def value(column: str) -> st.SearchStrategy[Any]:
    """Return the values of a column. All columns except the id and the labels can lack a value."""
    if column == "id":
        return TEXTS
    if column == "labels":
        return st.dictionaries(TEXTS, TEXTS, max_size=4)
    if column in HISTOGRAMS:
        return st.none() | st.fixed_dictionaries(
            {"edges": st.lists(FLOATS, max_size=4), "counts": st.lists(WHOLE_NUMBERS, max_size=4)}
        )
    if column in TIMES:
        return st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
    return st.none() | (WHOLE_NUMBERS if column in INTEGERS else FLOATS)


ROWS = st.lists(st.fixed_dictionaries({name: value(name) for name in COLUMNS}), min_size=1, max_size=4)
BATCHES = st.lists(ROWS, max_size=3)


def by_column(rows: list[dict[str, Any]]) -> Batch:
    """Return the values of rows by column."""
    return {name: [row[name] for row in rows] for name in COLUMNS}


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its times as text, because pyarrow reads times with a zone of its own."""
    times = {name: None if row[name] is None else timestamps.to_text(row[name]) for name in TIMES}
    return row | times | {"labels": dict(row["labels"])}


@given(BATCHES)
def test_an_arrow_stream_has_the_rows_of_all_batches(batches: list[list[dict[str, Any]]]) -> None:
    file = Arrow()
    content = b"".join([*(file.write(by_column(rows)) for rows in batches), file.finish()])

    table = pyarrow.ipc.open_stream(content).read_all()

    table.validate(full=True)
    assert table.column_names == list(COLUMNS)
    assert [comparable(row) for row in table.to_pylist()] == [comparable(row) for rows in batches for row in rows]
    assert polars.from_arrow(table).height == table.num_rows


def test_an_arrow_stream_does_not_load_pyarrow() -> None:
    """pyarrow loads pandas. The API would then use 80 MiB more until it ends."""
    script = f"""
import sys
from graphql_api.results.exports.formats import Arrow
batch = {{name: [None] for name in {COLUMNS!r}}} | {{"id": ["a"], "labels": [{{"site": "b"}}]}}
file = Arrow()
print(len(file.write(batch) + file.finish()) > 1_000, "pyarrow" in sys.modules, "pandas" in sys.modules)
"""

    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert output == "True False False\n"


@given(BATCHES)
def test_a_parquet_file_has_the_rows_of_all_batches(batches: list[list[dict[str, Any]]]) -> None:
    file = Parquet()
    content = b"".join([*(file.write(by_column(rows)) for rows in batches), file.finish()])

    table = parquet.read_table(io.BytesIO(content))

    assert table.column_names == list(COLUMNS)
    assert [comparable(row) for row in table.to_pylist()] == [comparable(row) for rows in batches for row in rows]
