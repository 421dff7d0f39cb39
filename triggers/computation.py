"""The statistics of a sample: of its values, and of its header and chunks. Opens no connection.

`moments` and `distribution` have the formulas.

A thread cannot be stopped from outside. The computation of a large sample therefore checks its own budget between
pieces, and each piece takes milliseconds. The budget is processor time of the thread, so other work on the machine does
not use it up.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from math import isfinite

import numpy as np

from storage.documents import Header, InvalidSample, NotJson, Problem, ProblemCode, Result, Statistics, Status
from storage.documents.validation import payload
from triggers import chunked_sample, rounded_moments
from triggers.distribution import SortedValues, histogram, quantile, sketch
from triggers.moments import Moments, Vector
from triggers.rounded_moments import RoundedMoments

MAX_PROCESSOR_SECONDS = 20.0
"""A valid sample of 64 MiB takes up to 3 s, in any shape."""

MAX_SMALL_SAMPLE = 200
"""Up to this number of values, Python's lists and integers are faster than NumPy."""


class OverBudget(Exception):
    """The computation takes too long."""


def compute(
    header: Header, update_time: datetime, chunks: Sequence[bytes] = (), max_seconds: float = MAX_PROCESSOR_SECONDS
) -> Result:
    """Return the result of a sample: COMPUTED or SUPERSEDED, or FAILED if the sample is invalid or exceeds the budget.

    `chunks` are all compressed chunks of the sample in order. Raises `MemoryError` if the process lacks memory.
    """
    result = partial(
        Result,
        header.submitter,
        header.id,
        update_time,
        header.shard,
        submitted_at=header.submitted_at,
        labels=header.labels,
        superseded_by=header.superseded_by,
        expire_at=header.result_expire_at,
        archiving=header.archiving,
    )
    # The system call for the processor time takes up to 12 µs, and a small sample is never checked.
    is_small = not header.chunks and header.count <= MAX_SMALL_SAMPLE
    check = _no_budget if is_small else _budget(max_seconds)
    try:
        if header.chunks:
            sample = chunked_sample.read(header, chunks, check)
        else:
            zone, skips_missing = header.default_time_zone(), header.missing_count > 0
            sample = payload.read(header.assemble(()), zone, skips_missing=skips_missing)
        values = _sort(np.frombuffer(sample.data))
        statistics = _summarize(values, check)
    except InvalidSample as error:
        return result(Status.FAILED, problem=error.problems[0])
    except NotJson as error:
        return result(Status.FAILED, problem=Problem("$", f"the stored sample is {error}", ProblemCode.INCOMPLETE))
    except OverBudget:
        message = f"the computation needs more than {max_seconds:g} s of processor time; split the sample"
        return result(Status.FAILED, problem=Problem("$", message, ProblemCode.OVER_BUDGET))
    return result(
        Status.COMPUTED if header.superseded_by is None else Status.SUPERSEDED,
        timestamp=sample.timestamp,
        statistics=statistics,
        labels=header.labels or sample.labels,
        missing_count=sample.missing_count,
        sketch=sketch(values),
    )


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
    return _summarize(_sort(values), check)


def _sort(values: Vector) -> SortedValues:
    """Sort `values` in place. Return them, as a list if they are few."""
    values.sort()
    return values.tolist() if values.size <= MAX_SMALL_SAMPLE else values


def _summarize(values: SortedValues, check: Callable[[], None]) -> Statistics:
    if isinstance(values, np.ndarray):
        moments: Moments | RoundedMoments = Moments.of(values, check)
    else:
        rounded = rounded_moments.of_small_sample(values)
        moments = Moments.of_small_sample(values) if rounded is None else rounded
    lower_quartile, upper_quartile = quantile(values, 25), quantile(values, 75)
    return Statistics(
        count=moments.count,
        mean=moments.mean,
        standard_deviation=moments.standard_deviation,
        minimum=quantile(values, 0),
        maximum=quantile(values, 100),
        sum=moments.sum,
        sample_standard_deviation=moments.sample_standard_deviation,
        percentile_1=quantile(values, 1),
        percentile_5=quantile(values, 5),
        lower_quartile=lower_quartile,
        median=quantile(values, 50),
        upper_quartile=upper_quartile,
        percentile_95=quantile(values, 95),
        percentile_99=quantile(values, 99),
        skewness=moments.skewness,
        kurtosis=moments.kurtosis,
        histogram=histogram(values, lower_quartile, upper_quartile),
    )


def _no_budget() -> None:
    """Raise nothing."""


def _budget(max_seconds: float) -> Callable[[], None]:
    """Return a function that raises `OverBudget` after `max_seconds` of processor time of this thread."""
    end = time.thread_time() + max_seconds

    def check() -> None:
        if time.thread_time() > end:
            raise OverBudget

    return check
