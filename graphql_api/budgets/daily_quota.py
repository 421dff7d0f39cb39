"""The samples and bytes that may be sent on one day, over all API processes. A day ends at midnight UTC.

The usage of a quota has two parts: the stored usage of all processes, and the usage that this process has admitted and
not stored yet. `DailyUsage` (`ingest/daily_usage.py`) stores the second part every few seconds.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import NamedTuple

from graphql_api import metrics
from graphql_api.errors import QuotaExceeded

DAY_SECONDS = 86_400


class Usage(NamedTuple):
    """Samples, and their bytes after decompression."""

    samples: int = 0
    byte_count: int = 0

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum."""
        return Usage(self.samples + other.samples, self.byte_count + other.byte_count)

    def minus(self, other: "Usage") -> "Usage":
        """Return the difference."""
        return Usage(self.samples - other.samples, self.byte_count - other.byte_count)


class ChangedQuotas(set["DailyQuota"]):
    """The quotas with usage that is not stored yet."""

    on_add: Callable[[], None] | None = None
    """Called after each addition."""

    def add(self, quota: "DailyQuota") -> None:
        """Add a quota with usage that must be stored."""
        super().add(quota)
        if self.on_add is not None:
            self.on_add()


class DailyQuota:
    """The daily quota of one submitter, or of the keys that share limits."""

    def __init__(
        self,
        submitter: str,
        key_name: str,
        *,
        max_samples: int,
        max_bytes: int,
        changed: ChangedQuotas,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Allow up to `max_samples` and `max_bytes` per day. 0 means no limit.

        If the quota has usage that is not stored yet, it is in `changed`.
        """
        self.submitter = submitter
        self.key_name = key_name
        self.max_samples = max_samples
        self.max_bytes = max_bytes
        self.store_at = 0.0
        """The monotonic time before which nothing needs to be stored again."""
        self._changed = changed
        self._clock = clock
        self._day = -1
        self._stored = self._admitted = Usage()

    def check(self, samples: int, byte_count: int) -> None:
        """Raise `QuotaExceeded` if these samples exceed the rest of the quota of the day."""
        used = self.used
        if self.max_samples and used.samples + samples > self.max_samples:
            raise self._refusal("max_samples_per_day_per_submitter", "daily-sample-count", self.max_samples)
        if self.max_bytes and used.byte_count + byte_count > self.max_bytes:
            raise self._refusal("max_sample_mib_per_day_per_submitter", "daily-sample-bytes", self.max_bytes)

    def add(self, samples: int, byte_count: int) -> None:
        """Count samples."""
        self._start_day()
        self._admitted = self._admitted.plus(Usage(samples, byte_count))
        self._changed.add(self)

    @property
    def used(self) -> Usage:
        """The known usage of today."""
        self._start_day()
        return self._stored.plus(self._admitted)

    @property
    def admitted(self) -> tuple[date, Usage]:
        """The day, and the usage that this process has admitted on this day and not stored yet."""
        self._start_day()
        return datetime.fromtimestamp(self._day * DAY_SECONDS, UTC).date(), self._admitted

    def set_stored(self, day: date, written: Usage, total: Usage) -> None:
        """Note that `written` is stored, and that `total` is the stored usage of the day. Ignored after the day."""
        if day == self.admitted[0]:
            self._admitted = self._admitted.minus(written)
            self._stored = total

    @property
    def policies(self) -> list[str]:
        """The items of the header `RateLimit-Policy`."""
        return [f'"{name}";q={quota};w={DAY_SECONDS};{unit}' for name, quota, _, unit in self._limits()]

    @property
    def items(self) -> list[str]:
        """The items of the header `RateLimit`."""
        seconds = self._remaining_seconds
        return [f'"{name}";r={max(0, quota - used)};t={seconds}' for name, quota, used, _ in self._limits()]

    def _limits(self) -> list[tuple[str, int, int, str]]:
        """Return the name, the quota, the usage and the unit of each limit that is set."""
        used = self.used
        limits = [
            ("daily-sample-count", self.max_samples, used.samples, 'dropzone-unit="samples"'),
            ("daily-sample-bytes", self.max_bytes, used.byte_count, 'qu="content-bytes"'),
        ]
        return [limit for limit in limits if limit[1]]

    @property
    def _remaining_seconds(self) -> int:
        return DAY_SECONDS - int(self._clock()) % DAY_SECONDS

    def _start_day(self) -> None:
        day = int(self._clock()) // DAY_SECONDS
        if day != self._day:
            self._day = day
            self._stored = self._admitted = Usage()

    def _refusal(self, limit: str, policy: str, quota: int) -> QuotaExceeded:
        metrics.limit_refusals(limit).inc()
        return QuotaExceeded(
            f"the limit {limit} is reached: at most {quota:,} per day; retry after midnight UTC",
            limit=limit,
            retry_after=self._remaining_seconds,
            policy=policy,
            quota=quota,
            window_seconds=DAY_SECONDS,
        )
