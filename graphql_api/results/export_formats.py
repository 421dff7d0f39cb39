"""Results as files: NDJSON, CSV, and Arrow or Parquet where pyarrow is installed, some rows at a time.

A row has the names and values of the stored result; a number is written with all of its digits. What a result of
version 1 does not have is null, or an empty field in CSV.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any, Protocol

import orjson

from storage.documents import STATISTICS, Histogram, timestamps

Row = Mapping[str, Any]

_HISTOGRAMS = frozenset(name for name, statistic in STATISTICS.items() if statistic.value_type is Histogram)
COLUMNS = ("id", "timestamp", *STATISTICS, "computed_at", "statistics_version")
FLAT_COLUMNS = tuple(name for name in COLUMNS if name not in _HISTOGRAMS)
"""A field of a CSV file holds no list."""

HAS_ARROW = find_spec("pyarrow") is not None
_INTEGERS = frozenset(name for name, each in STATISTICS.items() if each.value_type is int) | {"statistics_version"}
_TIMES = frozenset({"timestamp", "computed_at"})
_ROW_GROUP = 5_000
"""Rows of a Parquet row group, for the footer has a part for each."""


class Format(Protocol):
    """Turns rows into the bytes of one file, piece by piece."""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return what comes next, with `rows` in it or kept for later."""

    def end(self) -> bytes:
        """Return what is left."""


class Ndjson:
    """An object on each line."""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return their lines."""
        return b"".join(
            orjson.dumps({name: _text(row.get(name)) for name in COLUMNS}, option=orjson.OPT_APPEND_NEWLINE)
            for row in rows
        )

    def end(self) -> bytes:
        """Return nothing: the last line has ended."""
        return b""


class Csv:
    """RFC 4180, with a line of names at the top."""

    def __init__(self) -> None:
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(FLAT_COLUMNS)

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return their lines."""
        self._writer.writerows([_text(row.get(name)) for name in FLAT_COLUMNS] for row in rows)
        return self.end()

    def end(self) -> bytes:
        """Return the names where there was no row."""
        written = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return written


class Arrow:
    """An Arrow IPC stream, a record batch for some rows each; or a Parquet file, a row group for some rows each."""

    def __init__(self, *, parquet: bool = False) -> None:
        import pyarrow  # an extra: whoever does not ask for it need not have it
        from pyarrow import parquet as pyarrow_parquet

        self._schema = pyarrow.schema([(name, _arrow_type(pyarrow, name)) for name in COLUMNS])
        self._batch = pyarrow.RecordBatch.from_pylist
        self._table = pyarrow.Table.from_batches
        self._kept: list[Any] = []
        self._at_least = _ROW_GROUP if parquet else 1
        self._file = _Pieces()
        opened = pyarrow.PythonFile(self._file, mode="w")
        self._writer = (
            pyarrow_parquet.ParquetWriter(opened, self._schema)
            if parquet
            else pyarrow.ipc.new_stream(opened, self._schema)
        )

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return the bytes that the writer has made so far."""
        self._kept.append(self._batch(list(rows), schema=self._schema))
        if sum(batch.num_rows for batch in self._kept) >= self._at_least:
            self._write()
        return self._file.take()

    def end(self) -> bytes:
        """Return the rest."""
        if self._kept:
            self._write()
        self._writer.close()
        return self._file.take()

    def _write(self) -> None:
        self._writer.write_table(self._table(self._kept))
        self._kept.clear()


class _Pieces(io.RawIOBase):
    """A file to write to whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._taken = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._taken + len(self._held)

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        piece = bytes(self._held)
        self._held.clear()
        self._taken += len(piece)
        return piece


def _text(value: Any) -> Any:
    return timestamps.to_text(value) if isinstance(value, datetime) else value


def _arrow_type(pyarrow: Any, name: str) -> Any:
    if name == "id":
        return pyarrow.string()
    if name in _HISTOGRAMS:
        return pyarrow.struct([("edges", pyarrow.list_(pyarrow.float64())), ("counts", pyarrow.list_(pyarrow.int64()))])
    if name in _TIMES:
        return pyarrow.timestamp("us", tz="UTC")
    return pyarrow.int64() if name in _INTEGERS else pyarrow.float64()
