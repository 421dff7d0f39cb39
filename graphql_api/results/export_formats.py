"""Results as a file, written in batches of rows: NDJSON, CSV, and Arrow or Parquet if pyarrow is installed.

A row has the names and values of the stored result. Numbers keep all their digits. A value that a result lacks is null,
or an empty field in CSV. Labels are an object in NDJSON, the JSON text of this object in CSV, and a map in Arrow.
"""

import csv
import io
from collections.abc import Sequence
from importlib.util import find_spec
from operator import itemgetter
from typing import Any, Protocol

import orjson

from storage.documents import STATISTICS, Histogram, labels, timestamps
from storage.firestore import encoding

Row = dict[str, Any]
"""The values of a result by column, in the order of `COLUMNS`."""

_HISTOGRAMS = frozenset(name for name, statistic in STATISTICS.items() if statistic.value_type is Histogram)
COLUMNS = ("id", "timestamp", *STATISTICS, "computed_at", "statistics_version", "labels", "missing_count")
FLAT_COLUMNS = tuple(name for name in COLUMNS if name not in _HISTOGRAMS)
"""The columns of a CSV file. A field of CSV cannot hold a list."""

HAS_ARROW = find_spec("pyarrow") is not None
_STORED = COLUMNS[1:]
_INTEGERS = frozenset(name for name, each in STATISTICS.items() if each.value_type is int) | {
    "statistics_version",
    "missing_count",
}
_TIMES = frozenset({"timestamp", "computed_at"})
_MIN_ROW_GROUP_ROWS = 5_000
"""The minimum size of a Parquet row group. The footer of the file grows with the number of row groups."""


def row_of(document: Any) -> Row:
    """Return the row of a result, a protocol `Document`."""
    fields = document.fields
    row: Row = {"id": document.name.rpartition("/")[2]}
    for name in _STORED:
        value = fields.get(name)
        row[name] = None if value is None else value.double_value or encoding.from_value(value)
    row["labels"] = labels.from_fields(row)
    row["missing_count"] = row["missing_count"] or 0
    return row


class Format(Protocol):
    """Converts batches of rows to the bytes of one file."""

    def write(self, rows: Sequence[Row]) -> bytes:
        """Add `rows` to the file. Return the bytes that are ready. A format may buffer rows."""

    def finish(self) -> bytes:
        """Return the remaining bytes of the file."""


class Ndjson:
    """One JSON object per line."""

    def write(self, rows: Sequence[Row]) -> bytes:
        """Return the lines of `rows`."""
        return b"".join(orjson.dumps(row | _times_of(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows)

    def finish(self) -> bytes:
        """Return no bytes."""
        return b""


class Csv:
    """CSV as in RFC 4180, with a header line."""

    def __init__(self) -> None:
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(FLAT_COLUMNS)
        self._values_of = itemgetter(*FLAT_COLUMNS)

    def write(self, rows: Sequence[Row]) -> bytes:
        """Return the lines of `rows`. The first call also returns the header line."""
        self._writer.writerows(self._values_of(row | _times_of(row) | {"labels": _label_text(row)}) for row in rows)
        return self.finish()

    def finish(self) -> bytes:
        """Return the header line if no rows were written."""
        written = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return written


class Arrow:
    """An Arrow IPC stream with one record batch per `write` call, or a Parquet file with larger row groups."""

    def __init__(self, *, parquet: bool = False) -> None:
        import pyarrow  # an optional dependency
        from pyarrow import parquet as pyarrow_parquet

        self._schema = pyarrow.schema([(name, _arrow_type(pyarrow, name)) for name in COLUMNS])
        self._to_batch = pyarrow.RecordBatch.from_pydict
        self._to_table = pyarrow.Table.from_batches
        self._batches: list[Any] = []
        self._min_rows = _MIN_ROW_GROUP_ROWS if parquet else 1
        self._output = _OutputBuffer()
        file = pyarrow.PythonFile(self._output, mode="w")
        self._writer = (
            pyarrow_parquet.ParquetWriter(file, self._schema) if parquet else pyarrow.ipc.new_stream(file, self._schema)
        )

    def write(self, rows: Sequence[Row]) -> bytes:
        """Buffer `rows`. Return the bytes that the Arrow writer has produced."""
        columns = {name: [row[name] for row in rows] for name in COLUMNS}
        columns["labels"] = [[*given.items()] for given in columns["labels"]]
        self._batches.append(self._to_batch(columns, schema=self._schema))
        if sum(batch.num_rows for batch in self._batches) >= self._min_rows:
            self._write_batches()
        return self._output.drain()

    def finish(self) -> bytes:
        """Write the buffered rows and the end of the file."""
        if self._batches:
            self._write_batches()
        self._writer.close()
        return self._output.drain()

    def _write_batches(self) -> None:
        self._writer.write_table(self._to_table(self._batches))
        self._batches.clear()


class _OutputBuffer(io.RawIOBase):
    """A writable file. `drain` removes the bytes that were written, so the file does not fill the memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._drained = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._drained + len(self._bytes)

    def write(self, data: Any) -> int:
        self._bytes += data
        return len(data)

    def drain(self) -> bytes:
        """Return the bytes written since the last call."""
        drained = bytes(self._bytes)
        self._bytes.clear()
        self._drained += len(drained)
        return drained


def _label_text(row: Row) -> str | None:
    return orjson.dumps(row["labels"]).decode() if row["labels"] else None


def _times_of(row: Row) -> Row:
    """Return the texts of the times in `row`."""
    return {name: None if row[name] is None else timestamps.to_text(row[name]) for name in _TIMES}


def _arrow_type(pyarrow: Any, name: str) -> Any:
    if name == "id":
        return pyarrow.string()
    if name == "labels":
        return pyarrow.map_(pyarrow.string(), pyarrow.string())
    if name in _HISTOGRAMS:
        return pyarrow.struct([("edges", pyarrow.list_(pyarrow.float64())), ("counts", pyarrow.list_(pyarrow.int64()))])
    if name in _TIMES:
        return pyarrow.timestamp("us", tz="UTC")
    return pyarrow.int64() if name in _INTEGERS else pyarrow.float64()
