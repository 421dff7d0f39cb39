"""Which results are together in a rollup: all results of a submitter, or those of a series.

A series has exactly the same labels. Results without labels are a series too.

This module opens no connection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from storage.documents import Labels, document_paths, labels

Series = str
"""The index term of the labels of a series, or one of the two names below. Each index term contains `=`."""

ALL_RESULTS: Series = "*"
WITHOUT_LABELS: Series = "-"

MAX_SERIES = 1_000
"""A submitter with more series has no rollups of series."""


@dataclass(frozen=True, slots=True)
class RollupKind:
    """The collection of rollups, the series to which a result belongs, and how many documents are read at once."""

    collection: str
    series_of: Callable[[Any], Series]
    batch_size: int
    """A document has up to 1 MiB. One of all results has usually about 20 KiB, and one of 50 series 200 KiB."""


def series_of(document: Any) -> Series:
    """Return the series of a result, a protocol `Document`."""
    fields = document.fields
    if "labels" not in fields:
        return WITHOUT_LABELS
    stored = fields["labels"].map_value.fields
    return labels.term({name: stored[name].string_value for name in stored}) or WITHOUT_LABELS


def labels_of(series: Series) -> Labels:
    """Return the labels of a series."""
    return {} if series in (ALL_RESULTS, WITHOUT_LABELS) else labels.from_term(series)


TOTAL = RollupKind(document_paths.ROLLUPS, lambda _: ALL_RESULTS, 100)
BY_SERIES = RollupKind(document_paths.SERIES_ROLLUPS, series_of, 16)
