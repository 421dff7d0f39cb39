"""CSV tables: rows become samples.

If a row is invalid, an error replaces the sample of this row, because the sample would lack values. After the row is
corrected, it would be another sample, and both would be stored. Later rows are read.
"""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from dropzone.errors import UnusableSample

ENCODING, ENCODING_ERRORS = "utf-8-sig", "surrogateescape"
"""How to decode a file for `csv_samples`. It refuses rows with bytes that are not UTF-8, which become surrogates."""

_LABEL_COLUMN = "label."
_MAX_ECHO_CHARACTERS = 60
_MAX_LABEL_CHARACTERS = 64
_JOINER = re.compile("[\u200c\u200d]")  # in emoji, for example; the server allows them between other characters
_TIME_STAMP = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:[Zz]|[+-]\d{2}(?::?\d{2})?)?", re.ASCII
)
"""A time stamp whose date may not exist. The server checks the UTC offset, and whether it can be omitted."""

_Identity = tuple[str, dict[str, str]]
"""The time stamp and the labels of a sample."""


def read_csv(file: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the samples of a CSV file, for `submit_many`. See `csv_samples` for the columns.

    Raises `UnusableSample` at the first row that is not part of a sample.
    """
    with Path(file).open(encoding=ENCODING, errors=ENCODING_ERRORS, newline="") as lines:
        for number, sample in csv_samples(lines):
            if isinstance(sample, UnusableSample):
                raise UnusableSample(f"{sample} - on line {number}")
            yield sample


def csv_samples(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any] | UnusableSample]]:
    """Yield each sample of a CSV table with the number of its first line, or an error with the number of its line.

    The first row has the names of the columns. The column `time_stamp` is required. A column such as `label.site` has
    the values of a label. All other columns with a name have measured values. Consecutive rows with the same time stamp
    and labels are one sample. An empty cell or NaN is a missing value, and the sample omits it. Rows with only empty
    cells are ignored. An invalid row is an error, and so is each sample that it can belong to. A row is also invalid if
    its time stamp has the wrong form or a date that does not exist, if a label is too long or not printable, or if it
    has a value in a column without a name.
    """
    rows = _rows(lines)
    header = next(rows, None)
    if header is None:
        return
    columns = [name.strip() for name in header.cells]
    if (refusal := header.error or _header_error(columns)) is not None:
        yield header.line, refusal
        return
    current: _Group | None = None
    for row in rows:
        try:
            group = _read(columns, row)
        except UnusableSample as error:
            yield row.line, error
            group = _Group(0, _identity(columns, row), invalid_line=row.line)
            if current is not None and group.identity is None:
                current.invalid_line = row.line
        if current is not None and not current.add(group):
            yield from current.samples()
            current = None
        current = current or group
    if current is not None:
        yield from current.samples()


def _header_error(columns: list[str]) -> UnusableSample | None:
    """Return the error for a header without a time stamp, or with two columns of the same time stamp or label."""
    if "time_stamp" not in columns:
        got = ",".join(columns)[:_MAX_ECHO_CHARACTERS]
        return UnusableSample(
            f"expected columns separated by commas, one of them with the name time_stamp, got {got!r}"
        )
    for name, count in Counter(filter(_is_identity, columns)).items():
        if count > 1:
            return UnusableSample(f"expected the column {name} once, got it {count} times")
    return None


@dataclass(slots=True)
class _Row:
    """A row, or a row that is not CSV in UTF-8, with its error and the cells that can be told apart."""

    line: int
    cells: list[str]
    error: UnusableSample | None = None


@dataclass(slots=True)
class _Group:
    """Consecutive rows of one sample."""

    line: int
    """The number of the first valid row, or 0 if no row is valid."""
    identity: _Identity | None
    """None while its rows are invalid and can belong to any sample."""
    data: list[float | None] = field(default_factory=list)
    invalid_line: int | None = None

    def add(self, other: "_Group") -> bool:
        """Add rows. Return False if they belong to another sample."""
        self.identity = self.identity or other.identity
        if self.identity != other.identity:
            return False
        self.line = self.line or other.line
        self.data += other.data
        self.invalid_line = self.invalid_line or other.invalid_line
        return True

    def samples(self) -> Iterator[tuple[int, dict[str, Any] | UnusableSample]]:
        """Yield the sample, or an error if it lacks a row. Invalid rows alone are not a sample."""
        if self.identity is not None and self.invalid_line is None:
            time_stamp, labels = self.identity
            sample: dict[str, Any] = {"data": self.data, "time_stamp": time_stamp}
            sample |= {"labels": labels} if labels else {}
            sample |= {"missing": "skip"} if None in self.data else {}
            yield self.line, sample
        elif self.data:
            sentence = f"this sample may lack values, because line {self.invalid_line} is invalid"
            yield self.line, UnusableSample(sentence)


class _Lines:
    """Lines that can be given back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._given_back: deque[str] = deque()
        self.number = 0
        self.of_row: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._given_back.popleft() if self._given_back else next(self._lines)
        self.of_row.append(line)
        self.number += 1
        return line

    def give_back(self) -> None:
        """Give back all lines of the row except the first. An unclosed quotation mark has joined these lines."""
        others = self.of_row[1:]
        self._given_back.extendleft(reversed(others))
        self.number -= len(others)


def _rows(lines: Iterable[str]) -> Iterator[_Row]:
    source = _Lines(lines)
    reader = csv.reader(source, strict=True)
    while True:
        source.of_row.clear()
        number = source.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = source.of_row[0].split(",")
            source.give_back()
            yield _Row(number, cells, UnusableSample(f"expected CSV in UTF-8: {error}"))
            continue
        if not _is_text("".join(cells)):
            raw = next(cell for cell in cells if not _is_text(cell)).encode("utf-8", ENCODING_ERRORS)
            yield _Row(
                number, cells, UnusableSample(f"expected CSV in UTF-8, got the bytes {raw[:_MAX_ECHO_CHARACTERS]!r}")
            )
        elif any(map(str.strip, cells)):  # spreadsheets save a cleared row as commas
            yield _Row(number, cells)


def _is_text(cell: str) -> bool:
    try:
        return cell.isascii() or bool(cell.encode())
    except UnicodeEncodeError:  # a surrogate
        return False


def _identity(columns: list[str], row: _Row) -> _Identity | None:
    """Return the identity of an invalid row, or None if its time stamp or a label is not known for certain."""
    if len(row.cells) != len(columns):
        return None
    identity = {name: cell for name, cell in zip(columns, row.cells, strict=True) if _is_identity(name)}
    if not _is_time_stamp(identity["time_stamp"]):
        return None
    if row.error is not None and any('"' in cell or not _is_text(cell) for cell in identity.values()):
        return None
    if not all(_is_label(cell) for name, cell in identity.items() if name != "time_stamp"):
        return None
    labels = {
        name.removeprefix(_LABEL_COLUMN): cell for name, cell in identity.items() if name != "time_stamp" and cell
    }
    return identity["time_stamp"], labels


def _is_time_stamp(cell: str) -> bool:
    if not _TIME_STAMP.fullmatch(cell):
        return False
    try:
        date.fromisoformat(cell[:10])
    except ValueError:  # for example 30 February
        return False
    return True


def _is_label(cell: str) -> bool:
    """Return whether the server accepts the value of a label, or the cell is empty."""
    is_printable = cell.isprintable() or all(part and part.isprintable() for part in _JOINER.split(cell))
    return is_printable and len(cell) <= _MAX_LABEL_CHARACTERS


def _is_identity(name: str) -> bool:
    return name == "time_stamp" or name.startswith(_LABEL_COLUMN)


def _read(columns: list[str], row: _Row) -> _Group:
    if row.error is not None:
        raise row.error
    if len(row.cells) != len(columns):
        raise UnusableSample(f"expected {len(columns)} cells, got {len(row.cells)}")
    time_stamp = ""
    labels: dict[str, str] = {}
    data: list[float | None] = []
    for name, cell in zip(columns, row.cells, strict=True):
        if name == "time_stamp":
            if not _is_time_stamp(cell):
                got = cell[:_MAX_ECHO_CHARACTERS]
                raise UnusableSample(f"expected a valid time stamp such as 2019-05-01T06:00:00-04:00, got {got!r}")
            time_stamp = cell
        elif name.startswith(_LABEL_COLUMN):
            if not _is_label(cell):
                got = cell[:_MAX_ECHO_CHARACTERS]
                raise UnusableSample(
                    f"expected at most {_MAX_LABEL_CHARACTERS} printable characters, got {got!r} - in column {name}"
                )
            labels |= {name.removeprefix(_LABEL_COLUMN): cell} if cell else {}
        elif name:
            data.append(_csv_value(name, cell))
        elif cell.strip():
            raise UnusableSample(
                f"expected an empty cell, got {cell[:_MAX_ECHO_CHARACTERS]!r} in a column without a name; pandas "
                "writes its index into a column without a name; write the file with index=False"
            )
    return _Group(row.line, (time_stamp, labels), data)


def _csv_value(name: str, cell: str) -> float | None:
    try:
        value = float(cell) if cell.strip() else None
    except ValueError:
        value = float("inf")
    if value is None or isnan(value):
        return None
    if not isfinite(value) or "_" in cell:
        raise UnusableSample(f"expected a number, got {cell[:_MAX_ECHO_CHARACTERS]!r} - in column {name}")
    return value
