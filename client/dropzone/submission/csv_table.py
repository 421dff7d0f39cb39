"""CSV tables: rows become samples."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from dropzone.errors import UnusableSample

_LABEL_COLUMN = "label."


def read_csv(file: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the samples of a CSV file, for `submit_many`. See `csv_samples` for the columns.

    Raises `UnusableSample` at the first row that is not part of a sample.
    """
    with Path(file).open(encoding="utf-8-sig", newline="") as lines:
        for number, sample in csv_samples(lines):
            if isinstance(sample, UnusableSample):
                raise UnusableSample(f"{sample} - on line {number}")
            yield sample


def csv_samples(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any] | UnusableSample]]:
    """Yield each sample of a CSV table with the number of its first line, or an error with the number of its line.

    The first row has the names of the columns. The column `time_stamp` is required. A column such as `label.site` has
    the values of a label. All other columns have measured values. Consecutive rows with the same time stamp and labels
    are one sample. An empty cell or NaN is a missing value, and the sample omits it.
    """
    rows = csv.reader(lines, strict=True)
    current: dict[str, Any] | None = None
    started = rows.line_num + 1
    columns: list[str] | None = None
    try:
        for row in rows:
            if not row:
                continue
            if columns is None:
                columns = [name.strip() for name in row]
                if "time_stamp" not in columns:
                    yield rows.line_num, UnusableSample("expected a column with the name time_stamp")
                    return
                continue
            try:
                sample = _csv_row(columns, row)
            except UnusableSample as error:
                yield rows.line_num, error
                continue
            if current is not None and _is_same_sample(current, sample):
                current["data"] += sample.pop("data")
                current |= sample
                continue
            if current is not None:
                yield started, current
            current, started = sample, rows.line_num
    except (csv.Error, UnicodeDecodeError) as error:
        yield rows.line_num + 1, UnusableSample(f"expected CSV in UTF-8: {error}")
    if current is not None:
        yield started, current


def _csv_row(columns: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(columns):
        raise UnusableSample(f"expected {len(columns)} cells, got {len(row)}")
    sample: dict[str, Any] = {"data": []}
    labels: dict[str, str] = {}
    for name, cell in zip(columns, row, strict=True):
        if name == "time_stamp":
            sample[name] = cell
        elif name.startswith(_LABEL_COLUMN):
            labels |= {name.removeprefix(_LABEL_COLUMN): cell} if cell else {}
        else:
            sample["data"].append(_csv_value(name, cell))
    return sample | ({"labels": labels} if labels else {}) | ({"missing": "skip"} if None in sample["data"] else {})


def _csv_value(name: str, cell: str) -> float | None:
    try:
        value = float(cell) if cell.strip() else None
    except ValueError:
        value = float("inf")
    if value is None or isnan(value):
        return None
    if not isfinite(value) or "_" in cell:
        raise UnusableSample(f"expected a number, got {cell!r} - in column {name}")
    return value


def _is_same_sample(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["time_stamp"] == other["time_stamp"] and one.get("labels") == other.get("labels")
