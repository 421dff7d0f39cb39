"""Results as a file, written in batches: NDJSON, CSV, Arrow, and Parquet if pyarrow is installed.

Numbers keep all their digits. A value that a result lacks is null, or an empty field in CSV. Labels are an object in
NDJSON, the JSON text of this object in CSV, and a map in Arrow and Parquet.
"""

import csv
import io
from importlib.util import find_spec
from typing import Any, Protocol

import msgspec
import nanoarrow as na
import orjson
from nanoarrow.c_array_stream import CArrayStream
from nanoarrow.ipc import StreamWriter

from graphql_api.results.exports.arrow import SCHEMA, record_batch
from graphql_api.results.exports.columns import COLUMNS, FLAT_COLUMNS, TIMES, Batch
from storage.documents import Labels, timestamps

HAS_PARQUET = find_spec("pyarrow") is not None
_MIN_ROW_GROUP_ROWS = 5_000
"""The minimum size of a Parquet row group. The footer of the file grows with the number of row groups."""

_Row = msgspec.defstruct("_Row", COLUMNS, gc=False)
"""A line of NDJSON. Structs are encoded in about half the time of dicts."""

_to_lines = msgspec.json.Encoder().encode_lines

_NUMBERS = frozenset(FLAT_COLUMNS) - TIMES - {"id", "labels"}


class Format(Protocol):
    """Converts batches of results to the bytes of one file."""

    def write(self, batch: Batch) -> bytes:
        """Add `batch` to the file. Return the bytes that are ready. A format may buffer batches."""

    def finish(self) -> bytes:
        """Return the remaining bytes of the file."""


class Ndjson:
    """One JSON object per line."""

    def write(self, batch: Batch) -> bytes:
        """Return the lines of `batch`."""
        return _to_lines([*map(_Row, *(batch | _time_texts(batch)).values())])

    def finish(self) -> bytes:
        """Return no bytes."""
        return b""


class Csv:
    """CSV as in RFC 4180, with a header line."""

    def __init__(self) -> None:
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(FLAT_COLUMNS)

    def write(self, batch: Batch) -> bytes:
        """Return the lines of `batch`. The first call also returns the header line."""
        columns = batch | _time_texts(batch) | {name: _number_texts(batch[name]) for name in _NUMBERS}
        columns["labels"] = [_label_text(each) for each in batch["labels"]]
        self._writer.writerows(zip(*(columns[name] for name in FLAT_COLUMNS), strict=True))
        return self.finish()

    def finish(self) -> bytes:
        """Return the header line if no rows were written."""
        written = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return written


class Arrow:
    """An Arrow IPC stream with one record batch per `write` call."""

    def __init__(self) -> None:
        self._output = _OutputBuffer()
        self._writer = StreamWriter.from_writable(self._output)
        self._writer.write_stream(CArrayStream.from_c_arrays([], na.c_schema(SCHEMA)))  # the schema, without rows

    def write(self, batch: Batch) -> bytes:
        """Return the record batch, in the first call after the schema."""
        self._writer.write_array(record_batch(batch))
        return self._output.drain()

    def finish(self) -> bytes:
        """Return the end of the stream."""
        self._writer.close()
        return self._output.drain()


class Parquet:
    """A Parquet file. It has row groups that are larger than the batches of rows."""

    def __init__(self) -> None:
        import pyarrow  # an optional dependency
        from pyarrow import parquet

        self._to_batch = pyarrow.record_batch
        self._to_table = pyarrow.Table.from_batches
        self._batches: list[Any] = []
        self._output = _OutputBuffer()
        self._writer = parquet.ParquetWriter(pyarrow.PythonFile(self._output, mode="w"), pyarrow.schema(SCHEMA))

    def write(self, batch: Batch) -> bytes:
        """Buffer `batch`. Return the row groups that are complete."""
        self._batches.append(self._to_batch(record_batch(batch)))
        if sum(batch.num_rows for batch in self._batches) >= _MIN_ROW_GROUP_ROWS:
            self._write_row_group()
        return self._output.drain()

    def finish(self) -> bytes:
        """Write the buffered rows. Return the end of the file."""
        if self._batches:
            self._write_row_group()
        self._writer.close()
        return self._output.drain()

    def _write_row_group(self) -> None:
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


def _label_text(labels: Labels) -> str | None:
    return orjson.dumps(labels).decode() if labels else None


def _number_texts(values: list[Any]) -> list[Any]:
    """Return numbers as texts, and None as an empty text. A damaged result can have other values, which stay the same.

    A row takes 17 to 19 µs of CPU time until it is a line of CSV, instead of 32 to 40 µs with numbers.
    """
    try:
        text = orjson.dumps(values).decode()[1:-1]
    except TypeError:  # such as bytes
        return values
    texts = text.replace("null", "").split(",")
    return values if '"' in text or len(texts) != len(values) else texts


def _time_texts(batch: Batch) -> Batch:
    """Return the columns of times as texts."""
    return {name: [None if time is None else timestamps.to_text(time) for time in batch[name]] for name in TIMES}
