"""The result of a sample, from its header and chunks. Opens no connection.

`distribution` and `moments` have the formulas of the statistics.

A thread cannot be stopped from outside. The computation of a large sample therefore checks its own budget between
pieces, and each piece takes milliseconds. The budget is CPU time of the thread, so other work on the machine does
not use it up.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

import numpy as np

from storage.documents import Header, InvalidSample, NotJson, Problem, ProblemCode, Result, Statistics, Status
from storage.documents.validation import payload
from storage.documents.validation.payload import Payload
from triggers import chunked_sample
from triggers.statistics import rounded_moments
from triggers.statistics.distribution import AnyMoments, SortedValues, sketch, statistics_of
from triggers.statistics.moments import Moments, Vector

MAX_PROCESSOR_SECONDS = 20.0
"""A valid sample of 64 MiB takes up to 3 s, in any shape."""

MAX_SMALL_SAMPLE = 200
"""Up to this number of values, Python's lists and integers are faster than NumPy."""

_MAX_STARTED_BYTES = 128 * 1024
"""The size of the small samples that start in one iteration of the event loop. Their steps take about 6 ms together.

Without this limit, 500 samples of 13 KB, which arrive together, take 0.25 s of CPU time in one iteration. The limit
does not change the CPU time per sample by more than it differs between runs.
"""

_BYTES_PER_SAMPLE = 1024
"""Added to the size of each sample, because each takes some time even without values."""

_MAX_ITERATIONS = 6
"""More iterations of the event loop than a small sample needs. Small samples that always arrive do not stop others."""


class OverBudget(Exception):
    """The computation takes too long."""


def compute(
    header: Header, update_time: datetime, chunks: Sequence[bytes] = (), max_seconds: float = MAX_PROCESSOR_SECONDS
) -> Result:
    """Return the result of a sample: COMPUTED or SUPERSEDED, or FAILED if the sample is invalid or exceeds the budget.

    `chunks` are all compressed chunks of the sample in order. Raises `MemoryError` if the process lacks memory.
    """
    check = _budget(max_seconds)
    try:
        sample, values = _read(header, chunks, check)
        return _computed(header, update_time, sample, values, _moments(values, check))
    except (InvalidSample, NotJson, OverBudget) as error:
        return _failed(header, update_time, error)


class SmallSampleComputer:
    """Computes small samples in steps, without a budget. Belongs to one event loop.

    Each step runs for all samples of an iteration of the event loop, so its code stays in the caches of the processor.
    An event of 100 values then takes a quarter less CPU time. One step computes the moments of all samples
    together (see `rounded_moments`). If many samples arrive together, some of them start in each iteration, and
    submitters take turns.
    """

    def __init__(self) -> None:
        self._running = 0
        self._new: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}
        """The samples of each submitter that have not started, with their size. The first submitter is next."""
        self._waiting: list[tuple[list[float], asyncio.Future[AnyMoments]]] = []

    async def compute(self, header: Header, update_time: datetime) -> Result:
        """Return the result of a sample without chunks, as the function `compute` does."""
        self._running += 1
        try:
            await self._start(header.submitter, _BYTES_PER_SAMPLE + header.byte_count)  # receive other events first
            sample, values = _read(header)
            moments = Moments.of(values) if isinstance(values, np.ndarray) else await self._moments(values)
            result = _computed(header, update_time, sample, values, moments)
            await asyncio.sleep(0)  # compute other results, before the caller stores this one
        except (InvalidSample, NotJson) as error:
            return _failed(header, update_time, error)
        finally:
            self._running -= 1
        return result

    async def give_way(self) -> None:
        """Serve other events, and let the small samples that have arrived be computed, before a longer computation.

        A sample needs several iterations of the event loop. Measured with one after another among samples of 10,000
        values: 0.5 ms per small sample instead of 7.
        """
        for _ in range(_MAX_ITERATIONS):
            await asyncio.sleep(0)
            if not self._running:
                return

    def _start(self, submitter: str, size: int) -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()
        if not self._new:
            loop.call_soon(self._start_some)
        start = loop.create_future()
        self._new.setdefault(submitter, deque()).append((size, start))
        return start

    def _start_some(self) -> None:
        remaining = _MAX_STARTED_BYTES
        while self._new and remaining > 0:
            submitter = next(iter(self._new))
            queue = self._new.pop(submitter)
            size, start = queue.popleft()
            if queue:
                self._new[submitter] = queue  # after all other submitters
            if not start.done():  # a sample can be cancelled
                remaining -= size
                start.set_result(None)
        if self._new:
            asyncio.get_running_loop().call_soon(self._start_some)

    def _moments(self, values: list[float]) -> "asyncio.Future[AnyMoments]":
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._compute_waiting)
        self._waiting.append((values, loop.create_future()))
        return self._waiting[-1][1]

    def _compute_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        outcomes = _outcomes([values for values, _ in waiting])
        for (_, future), outcome in zip(waiting, outcomes, strict=True):
            if future.cancelled():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def summarize(values: Vector, check: Callable[[], None] = lambda: None) -> Statistics:
    """Return the statistics of at least one finite value. Each statistic is the double nearest to the exact value.

    Sorts `values` in place, because a copy of them could exceed the memory of the process. `check` is called between
    steps, and may raise an error.

    Raises `ValueError` if `values` is empty or contains an infinite value or NaN.
    """
    if not values.size:
        raise ValueError("expected at least one value, got none")
    if not (isfinite(values.min()) and isfinite(values.max())):  # if the values contain NaN, their minimum is NaN
        raise ValueError("expected finite values, got an infinite value or NaN")
    sorted_values = _sort(values)
    return statistics_of(sorted_values, _moments(sorted_values, check))


def _sort(values: Vector) -> SortedValues:
    """Sort `values` in place. Return them, as a list if they are few."""
    values.sort()
    return values.tolist() if values.size <= MAX_SMALL_SAMPLE else values


def _read(
    header: Header, chunks: Sequence[bytes] = (), check: Callable[[], None] = lambda: None
) -> tuple[Payload, SortedValues]:
    """Return the content and the sorted values of a sample.

    Raises `InvalidSample`, `NotJson`, or an error of `check`.
    """
    if header.chunks:
        sample = chunked_sample.read(header, chunks, check)
    else:
        zone, skips_missing = header.default_time_zone(), header.missing_count > 0
        sample = payload.read(header.assemble(()), zone, skips_missing=skips_missing)
    return sample, _sort(np.frombuffer(sample.data))


def _moments(values: SortedValues, check: Callable[[], None]) -> AnyMoments:
    return Moments.of(values, check) if isinstance(values, np.ndarray) else _moments_of_small([values])[0]


def _moments_of_small(samples: Sequence[list[float]]) -> list[AnyMoments]:
    rounded = rounded_moments.of_small_samples(samples)
    return [
        Moments.of_small_sample(values) if moments is None else moments
        for values, moments in zip(samples, rounded, strict=True)
    ]


def _outcomes(samples: Sequence[list[float]]) -> Sequence[AnyMoments | Exception]:
    """Return the moments of each small sample, or the error that a sample causes. It does not affect other samples."""
    try:
        return _moments_of_small(samples)
    except Exception as error:  # noqa: BLE001 - the caller raises it
        return [error] if len(samples) == 1 else [_outcomes([values])[0] for values in samples]


def _computed(
    header: Header, update_time: datetime, sample: Payload, values: SortedValues, moments: AnyMoments
) -> Result:
    return _result(
        header,
        update_time,
        Status.COMPUTED if header.superseded_by is None else Status.SUPERSEDED,
        timestamp=sample.timestamp,
        statistics=statistics_of(values, moments),
        labels=header.labels or sample.labels,
        missing_count=sample.missing_count,
        sketch=sketch(values),
    )


def _failed(header: Header, update_time: datetime, error: InvalidSample | NotJson | OverBudget) -> Result:
    if isinstance(error, InvalidSample):
        problem = error.problems[0]
    elif isinstance(error, NotJson):
        problem = Problem("$", f"the stored sample is {error}", ProblemCode.INCOMPLETE)
    else:
        problem = Problem("$", str(error), ProblemCode.OVER_BUDGET)
    return _result(header, update_time, Status.FAILED, labels=header.labels, problem=problem)


def _result(header: Header, update_time: datetime, status: Status, **fields: Any) -> Result:
    return Result(
        header.submitter,
        header.id,
        update_time,
        header.shard,
        status,
        submitted_at=header.submitted_at,
        superseded_by=header.superseded_by,
        expire_at=header.result_expire_at,
        archiving=header.archiving,
        **fields,
    )


def _budget(max_seconds: float) -> Callable[[], None]:
    """Return a function that raises `OverBudget` after `max_seconds` of CPU time of this thread."""
    end = time.thread_time() + max_seconds

    def check() -> None:
        if time.thread_time() > end:
            raise OverBudget(f"the computation needs more than {max_seconds:g} s of CPU time; split the sample")

    return check
