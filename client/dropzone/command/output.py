"""The output of the command: tables on a terminal, JSON otherwise.

Standard output contains only the requested data. Progress, warnings and errors go to standard error.
"""

import codecs
import csv
import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.table import Table

from dropzone import Result
from dropzone.encoding import format_time
from dropzone.statistics import TABLE_COLUMNS

_MIN_CONSOLE_WIDTH = 1_000
_TERMINAL_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that can move the cursor, change colors or reorder text: all controls except tab and newline."""


_CSV_COLUMNS = [field.name for field in fields(Result) if field.name != "histogram"]
"""A cell of a spreadsheet cannot hold the lists of a histogram."""


class Format(StrEnum):
    """The formats of results."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Output format. Default: table on a terminal, ndjson elsewhere."),
]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # rich would exit with its own code


def console(stream: TextIO | None = None) -> Console:
    """Return a console that prints text unchanged and never truncates a table."""
    wide = _Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
    wide.width = max(wide.width, _MIN_CONSOLE_WIDTH)
    return wide


def prepare() -> None:
    """Make the output streams escape characters that their encoding cannot represent. A closed input is empty.

    Exits if standard output is closed: a file or a connection that is opened later would get its number.
    """
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - open until the process exits
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - open until the process exits
    if sys.stdout is None:
        typer.echo("error: cannot write to standard output: it is closed", err=True)
        raise SystemExit(1)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def to_json(value: Any) -> Any:
    """Return a value that JSON can represent. Field names are as in `--where` and `GET /results`."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, tuple):
        return [to_json(part) for part in value]
    return value


def print_line(value: Mapping[str, Any]) -> None:
    """Print an object as one line of NDJSON and flush it."""
    sys.stdout.write(printable(_json_text(value)) + "\n")
    sys.stdout.flush()


def _json_text(value: Mapping[str, Any]) -> str:
    """Return compact JSON. If standard output is not UTF-8, escape all characters that are not ASCII."""
    is_utf_8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    return json.dumps(value, ensure_ascii=not is_utf_8, separators=(",", ":"))


def print_bytes(raw: bytes) -> None:
    """Print bytes unchanged. On a terminal, escape control characters, because the bytes are from another user."""
    if sys.stdout.isatty():
        sys.stdout.write(printable(raw.decode(errors="backslashreplace")))
    else:
        sys.stdout.buffer.write(raw)


def printable(text: str) -> str:
    """Return `text` with each terminal control as `\\uXXXX`, which is an escape of JSON too."""
    return _TERMINAL_CONTROLS.sub(lambda control: f"\\u{ord(control[0]):04x}", text)


def number(value: float | None) -> str:
    """Return a number with six significant digits, or an integer with thousands separators."""
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


class RowPrinter:
    """Prints rows one by one. A table is printed at the end, when the widths of its columns are known.

    `columns` are the names of the values in CSV. `headings` are the headings of a table, and whether each is of texts.
    """

    def __init__(self, output_format: Format, columns: Sequence[str], headings: Mapping[str, bool]) -> None:
        self._format = output_format
        self._columns = columns
        self._count = 0
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        self._table = Table(box=None, header_style="bold", pad_edge=False)
        for heading, is_text in headings.items():
            self._table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)

    @property
    def is_empty(self) -> bool:
        """Whether no row was printed."""
        return self._count == 0

    def add(self, values: Mapping[str, Any], cells: Iterable[str]) -> None:
        """Print one row: `values` as JSON or CSV, or `cells` in a table."""
        match self._format:
            case Format.TABLE:
                self._table.add_row(*cells)
            case Format.CSV:
                self._add_to_csv(values)
            case Format.JSON:
                sys.stdout.write(("[\n" if self._count == 0 else ",\n") + json.dumps(values))
            case Format.NDJSON:
                sys.stdout.write(json.dumps(values, separators=(",", ":")) + "\n")
        self._count += 1

    def end(self) -> None:
        """Print the table, or the end of the JSON list."""
        if self._format is Format.TABLE and self._count:
            console().print(self._table)
        elif self._format is Format.TABLE:
            typer.echo("no results", err=True)
        elif self._format is Format.JSON:
            sys.stdout.write("\n]\n" if self._count else "[]\n")
        elif self._format is Format.CSV and not self._count:
            self._csv.writerow(self._columns)

    def _add_to_csv(self, values: Mapping[str, Any]) -> None:
        if self._count == 0:
            self._csv.writerow(self._columns)
        texts = {name: _json_text(value) for name, value in values.items() if isinstance(value, dict)}
        self._csv.writerow([texts.get(name, values[name]) for name in self._columns])


class ResultPrinter(RowPrinter):
    """Prints results."""

    def __init__(self, output_format: Format) -> None:
        numbers = dict.fromkeys(TABLE_COLUMNS.values(), False)
        headings = {"time stamp (UTC)": True, "labels": True, **numbers, "id": True}
        super().__init__(output_format, _CSV_COLUMNS, headings)

    def add_result(self, result: Result) -> None:
        """Print one result."""
        self.add(to_json(result), _cells(result))


def _cells(result: Result) -> Iterator[str]:
    yield format_time(result.timestamp)
    yield label_cell(result.labels)
    yield from (number(getattr(result, name)) for name in TABLE_COLUMNS)
    yield result.id


def label_cell(labels: Mapping[str, str]) -> str:
    """Return labels as the cell of a table."""
    return printable(" ".join(f"{name}={value}" for name, value in labels.items()))


def confirm(question: str) -> bool:
    """Ask the user a question. Ctrl-C ends the command.

    The event loop handles Ctrl-C between two callbacks only, which is after the user has typed a line.
    """
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            typer.echo(err=True)
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, handler)


def choose_format(requested: Format | None) -> Format:
    """Return the requested format. Without one, return `table` for a terminal and `ndjson` otherwise."""
    return requested or (Format.TABLE if sys.stdout.isatty() else Format.NDJSON)


def name_value_table(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    for name, value in rows:
        table.add_row(name, printable(value))
    return table
