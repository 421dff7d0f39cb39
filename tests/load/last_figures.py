"""The last figure of each row, so that a run can show the change. They are of one machine, so git ignores the file.

A run of some groups keeps the figures of the other rows. Forms of a run differ in their rows and sizes, so each form
has figures of its own.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from tests.load.plan import Form
from tests.load.table import Row

PATH = Path(".dropzone-load.json")


class Last(TypedDict):
    """The figure of a row, and when it was measured."""

    value: float
    unit: str
    measured: str


def read(path: Path, form: Form) -> dict[str, Last]:
    """Return the figures by row. A file that is missing or damaged has none."""
    return _read(path).get(form.value, {})


def write(path: Path, form: Form, rows: Iterable[Row], measured: str) -> None:
    """Replace the figures of `rows`."""
    figures = {row.what: row.figure for row in rows if row.figure is not None}
    last: dict[str, Last] = {
        what: {"value": figure.value, "unit": figure.unit, "measured": measured} for what, figure in figures.items()
    }
    forms = _read(path)
    forms[form.value] = {**forms.get(form.value, {}), **last}
    path.write_text(json.dumps(forms, indent=2) + "\n")


def changes(last: Mapping[str, Last], rows: Iterable[Row]) -> dict[str, str]:
    """Return the change of each row that has an earlier figure in the same unit."""
    shown = {}
    for row in rows:
        earlier = last.get(row.what)
        if row.figure is not None and earlier is not None and earlier["value"] and earlier["unit"] == row.figure.unit:
            change = row.figure.value / earlier["value"] - 1
            shown[row.what] = f"{change:+.0%} since {earlier['measured']}"
    return shown


def _read(path: Path) -> dict[str, dict[str, Last]]:
    try:
        forms = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return forms if isinstance(forms, dict) else {}
