"""The results that a rollup contains: all results of a submitter, or the results of a series.

The results of a series have exactly the same labels. The results without labels are a series too.

This module opens no connection.
"""

from collections.abc import Callable
from dataclasses import dataclass

from storage.documents import Labels, document_paths, labels
from storage.firestore.messages import Document

Series = str
"""The index term of the labels of a series, or one of the two names below. Each index term contains `=`."""

ALL_RESULTS: Series = "*"
WITHOUT_LABELS: Series = "-"

MAX_SERIES = 1_000
"""A submitter with more series has no rollups of series."""


@dataclass(frozen=True, slots=True)
class RollupKind:
    """The kind of rollups: their collection, the series of a result, and the number of documents in one read."""

    collection: str
    series_of: Callable[[Document], Series]
    batch_size: int
    """Documents per read. A document of all results usually has 20 KiB, one of 50 series 200 KiB, and at most 1 MiB."""


def series_of(document: Document) -> Series:
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
