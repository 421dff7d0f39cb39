"""The comparison of a window: finds samples without a result with few reads.

Firestore counts up to 1,000 index entries for the price of one read. The comparison therefore counts the samples and
the results of a window. If the numbers differ, it halves the window and compares each half. If listing the samples of a
part costs less than further counts, it lists them. It does not read parts with equal numbers.

Note: a deletion can leave a result without a sample. Such a result hides a missing result in the same part.
"""

import asyncio
from typing import NamedTuple, Protocol

from triggers.audit.window import Window

MAX_LISTED = 500
"""The samples of a larger part are never listed at once."""
MAX_LISTED_PER_MISSING = 8
"""A part with more samples per missing result is divided.

Measured with 20 missing results of 100,000: 57 reads per missing result, and 88 reads if this value is 32.
"""


class Partition(NamedTuple):
    """The samples and results of a submitter in one shard. The indexes start with the shard."""

    submitter: str
    shard: int


class Counts(NamedTuple):
    """The numbers of accepted samples and of results that were submitted in a window."""

    samples: int
    results: int

    @property
    def difference(self) -> int:
        """The minimum number of missing results."""
        return abs(self.samples - self.results)


class Reader(Protocol):
    """Reads the documents of a partition."""

    async def counts(self, partition: Partition, window: Window) -> Counts:
        """Count samples and results."""

    async def sample_ids(self, partition: Partition, window: Window) -> list[str]:
        """List the accepted samples."""

    async def without_result(self, submitter: str, sample_ids: list[str]) -> list[str]:
        """Return the samples that have no result."""


async def missing_results(reader: Reader, partition: Partition, window: Window, counts: Counts) -> list[str]:
    """Return the ids of the samples of a window that have no result. `counts` are the counts of the window."""
    if not counts.difference or counts.samples <= 0:
        return []
    if _is_listed(counts) or not window.is_divisible:
        return await reader.without_result(partition.submitter, await reader.sample_ids(partition, window))
    first, second = window.halves()
    first_counts = await reader.counts(partition, first)
    second_counts = Counts(counts.samples - first_counts.samples, counts.results - first_counts.results)
    parts = await asyncio.gather(
        missing_results(reader, partition, first, first_counts),
        missing_results(reader, partition, second, second_counts),
    )
    return [sample_id for part in parts for sample_id in part]


def _is_listed(counts: Counts) -> bool:
    """Return whether listing all samples of a window costs less than dividing the window."""
    return counts.samples <= min(MAX_LISTED, MAX_LISTED_PER_MISSING * counts.difference)
