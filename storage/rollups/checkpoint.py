"""The checkpoint of a submitter: what its rollups contain.

All rollups contain all results as of one time, up to the time stamp `covered_until`. A span of time before that time
stamp that is in no rollup had no results then.

This module opens no connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from storage.rollups.rollup import EARLIEST

CHECKPOINT = "checkpoint"
"""The name of the checkpoint. It comes after the name of each day."""

FORMAT_VERSION = 2
"""Increase this number when a stored form in this package changes. All rollups are then built again."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the rollups of a submitter contain. `update_time` is None if the checkpoint is not stored yet.

    `stale_from` is the earliest time stamp at which a rollup can have a stale hour. `compared_at` is the last time at
    which the rollups were compared with the number of results, or None if results were removed since. `has_series` is
    whether the rollups of series are up to date too.
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
        """Return the checkpoint that is stored as `fields`. One of rollups of another format covers nothing."""
        as_of = fields["as_of"]
        assert isinstance(as_of, datetime)
        if fields["format_version"] != FORMAT_VERSION:
            return cls(as_of, update_time=update_time)
        covered_until, stale_from, compared_at, has_series = (
            fields[name] for name in ("covered_until", "stale_from", "compared_at", "has_series")
        )
        assert isinstance(covered_until, datetime)
        return cls(
            as_of,
            covered_until,
            stale_from if isinstance(stale_from, datetime) else None,
            compared_at if isinstance(compared_at, datetime) else None,
            has_series is True,
            update_time,
        )
