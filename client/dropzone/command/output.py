"""What is printed: for people on a terminal, for programs anywhere else.

Standard output has what was asked for and nothing else; progress, warnings and errors go to standard error.
"""

import csv
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.table import Table

from dropzone import Result
from dropzone.model import moment_text

_WIDEST_TABLE = 1_000


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="How to print: a table on a terminal and NDJSON elsewhere, unless said."),
]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # rich would exit with a code of its own


def console(stream: TextIO | None = None) -> Console:
    """Return what draws tables; texts are printed as they are, whatever signs they contain, and never cut."""
    fixed = _Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
    fixed.width = max(fixed.width, _WIDEST_TABLE)
    return fixed


def prepare() -> None:
    """Let no character that a terminal cannot show stop the command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def plain(value: Any) -> Any:
    """Return what JSON can express, with the names that `--where` and `GET /results` have as well."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return value


def line(value: Mapping[str, Any]) -> None:
    """Print an object as a line of NDJSON, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def number(value: float | None) -> str:
    """Write a number for people."""
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


class Rows:
    """Prints results one by one in a format; a table is printed at the end, when its widths are known."""

    def __init__(self, chosen: Format) -> None:
        self._format = chosen
        self._count = 0
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        self._table = Table(box=None, header_style="bold", pad_edge=False)

    def add(self, result: Result) -> None:
        """Print one."""
        match self._format:
            case Format.TABLE:
                self._add_row(result)
            case Format.CSV:
                self._add_csv(result)
            case Format.JSON:
                sys.stdout.write(("[\n" if self._count == 0 else ",\n") + json.dumps(plain(result)))
            case Format.NDJSON:
                sys.stdout.write(json.dumps(plain(result), separators=(",", ":")) + "\n")
        self._count += 1

    def end(self) -> None:
        """Print what belongs behind the last."""
        if self._format is Format.TABLE and self._count:
            console().print(self._table)
        elif self._format is Format.TABLE:
            typer.echo("no results", err=True)
        elif self._format is Format.JSON:
            sys.stdout.write("\n]\n" if self._count else "[]\n")

    def _add_row(self, result: Result) -> None:
        cells: dict[str, float | None] = {
            "count": result.count,
            "mean": result.mean,
            "std. deviation": result.standard_deviation,
            "minimum": result.minimum,
            "maximum": result.maximum,
        }
        if self._count == 0:
            self._table.add_column("timestamp", no_wrap=True)
            for name in cells:
                self._table.add_column(name, justify="right", no_wrap=True)
            self._table.add_column("id", no_wrap=True)
        self._table.add_row(moment_text(result.timestamp), *map(number, cells.values()), result.id)

    def _add_csv(self, result: Result) -> None:
        values = asdict(result)
        del values["histogram"]  # a table in a cell would be none to a spreadsheet
        if self._count == 0:
            self._csv.writerow(values)
        self._csv.writerow(plain(value) for value in values.values())


def choose(given: Format | None) -> Format:
    """Return the format that was asked for, or that fits where the output goes."""
    return given or (Format.TABLE if sys.stdout.isatty() else Format.NDJSON)


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and values side by side."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    for name, value in rows:
        table.add_row(name, value)
    return table
