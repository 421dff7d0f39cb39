"""The checkpoint of a submitter: which results its rollups contain.

The rollups contain all results that were written until `as_of` and have a time stamp before `covered_until`. If an hour
or day before `covered_until` has no rollup, it had no results at `as_of`.

This module opens no connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from storage.documents.stored_fields import read_optional_time, read_time
from storage.rollups.rollup import EARLIEST

CHECKPOINT = "checkpoint"
"""The name of the checkpoint. It sorts after the name of each day."""

FORMAT_VERSION = 2
"""Increase this number when a stored form in this package changes. All rollups are then built again."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checkpoint of a submitter. `update_time` is None if the checkpoint is not stored yet.

    `stale_from` is the earliest time stamp at which a rollup can have a stale hour. `compared_at` is the time of the
    last comparison of the rollups with the number of results, or None if results were removed after the comparison.
    `has_series` says whether the rollups of series are up to date too.
    """

    as_of: datetime
    covered_until: datetime = EARLIEST
    stale_from: datetime | None = None
    compared_at: datetime | None = None
    has_series: bool = False
    update_time: datetime | None = None

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        return {
            "format_version": FORMAT_VERSION,
            "as_of": self.as_of,
            "covered_until": self.covered_until,
            "stale_from": self.stale_from,
            "compared_at": self.compared_at,
            "has_series": self.has_series,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, object], update_time: datetime) -> "Checkpoint":
        """Return the checkpoint that is stored as `fields`.

        If its format version is not `FORMAT_VERSION`, the checkpoint says that the rollups contain no results.
        """
        as_of = read_time(fields, "as_of")
        if fields["format_version"] != FORMAT_VERSION:
            return cls(as_of, update_time=update_time)
        return cls(
            as_of,
            read_time(fields, "covered_until"),
            read_optional_time(fields, "stale_from"),
            read_optional_time(fields, "compared_at"),
            fields["has_series"] is True,
            update_time,
        )
