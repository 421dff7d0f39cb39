"""The comparison of counts finds exactly the samples without a result, with few reads."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from triggers.audit.comparison import Counts, Partition, missing_results
from triggers.audit.window import Window

START = datetime(2026, 11, 27, tzinfo=UTC)
ONE = Partition("one", 0)
HOUR = Window(START, START + timedelta(hours=1))


class Memory:
    """Samples by the second at which they were submitted; those in `missing` have no result."""

    def __init__(self, seconds: Sequence[float], missing: set[int]) -> None:
        self._times = [START + timedelta(seconds=each) for each in seconds]
        self._missing = missing
        self.reads = 0

    def _numbers(self, window: Window) -> list[int]:
        return [number for number, time in enumerate(self._times) if window.start <= time < window.end]

    async def counts(self, partition: Partition, window: Window) -> Counts:
        """Count."""
        numbers = self._numbers(window)
        results = [number for number in numbers if number not in self._missing]
        self.reads += sum(max(1, math.ceil(len(each) / 1_000)) for each in (numbers, results))
        return Counts(len(numbers), len(results))

    async def sample_ids(self, partition: Partition, window: Window) -> list[str]:
        """List."""
        numbers = self._numbers(window)
        self.reads += max(1, len(numbers))
        return list(map(str, numbers))

    async def without_result(self, submitter: str, sample_ids: list[str]) -> list[str]:
        """Read the results."""
        self.reads += len(sample_ids)
        return [each for each in sample_ids if int(each) in self._missing]

    async def compare(self) -> list[str]:
        """Compare the whole hour."""
        return sorted(await missing_results(self, ONE, HOUR, await self.counts(ONE, HOUR)), key=int)


@given(st.lists(st.tuples(st.integers(0, 3_599), st.integers(0, 20).map(bool)), max_size=120))
async def test_all_samples_without_a_result_are_found(samples: list[tuple[int, bool]]) -> None:
    """Also if several samples were submitted at the same time, which is then not divided further."""
    missing = {number for number, (_, has_result) in enumerate(samples) if not has_result}
    memory = Memory([second for second, _ in samples], missing)

    assert await memory.compare() == list(map(str, sorted(missing)))


async def test_equal_counts_need_no_further_reads() -> None:
    """100,000 samples cost 200 reads."""
    memory = Memory([number * 0.03 for number in range(100_000)], set())

    assert await memory.compare() == []
    assert memory.reads == 200


async def test_a_missing_result_costs_few_reads() -> None:
    """The window is halved until it has few samples, and only these are read."""
    memory = Memory([number * 0.1 for number in range(20_000)], {1_000 * number + 17 for number in range(20)})

    assert len(await memory.compare()) == 20
    assert memory.reads < 40 + 20 * 60


async def test_many_missing_results_cost_at_most_two_reads_each_and_some_counts() -> None:
    """If the function was down, nothing is gained by halving to the last sample."""
    memory = Memory([number * 0.03 for number in range(10_000)], set(range(10_000)))

    assert len(await memory.compare()) == 10_000
    assert memory.reads < 10_000 * 2.1


async def test_samples_of_the_same_moment_are_listed() -> None:
    """A group commit stores hundreds of samples at the same time."""
    memory = Memory([7.0] * 3_000, {5})

    assert await memory.compare() == ["5"]
