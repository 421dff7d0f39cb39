"""The rows of an exported file: the columns, and the values of a stored result.

A row has the names and values of the stored result. A value that a result lacks is None.
"""

from typing import Any

from storage.documents import STATISTICS, Histogram, labels
from storage.firestore import encoding

Row = dict[str, Any]
"""The values of a result by column, in the order of `COLUMNS`."""

COLUMNS = ("id", "timestamp", *STATISTICS, "computed_at", "statistics_version", "labels", "missing_count")
HISTOGRAMS = frozenset(name for name, statistic in STATISTICS.items() if statistic.value_type is Histogram)
INTEGERS = frozenset(name for name, statistic in STATISTICS.items() if statistic.value_type is int) | {
    "statistics_version",
    "missing_count",
}
TIMES = frozenset({"timestamp", "computed_at"})
FLAT_COLUMNS = tuple(name for name in COLUMNS if name not in HISTOGRAMS)
"""The columns of a CSV file. A field of CSV cannot hold a list."""

_STORED = COLUMNS[1:]


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
