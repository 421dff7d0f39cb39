"""The result of a sample, computed from its header and chunks. Opens no connection.

A thread cannot be ended from outside. The computation of a large sample therefore checks its own
budget between pieces, and each piece takes milliseconds. The budget is processor time of the
thread, so other work of the machine does not use it up.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import numpy as np

from storage.documents import Header, InvalidSample, NotJson, Problem, ProblemCode, Result, Status
from storage.documents.validation import payload
from triggers import chunked_sample
from triggers.summary import summarize

MAX_PROCESSOR_SECONDS = 20.0
"""A valid sample of 64 MiB takes up to 3 s, in any shape."""


class OverBudget(Exception):
    """The computation takes too long."""


def compute(
    header: Header, update_time: datetime, chunks: Sequence[bytes] = (), max_seconds: float = MAX_PROCESSOR_SECONDS
) -> Result:
    """Return the result of a sample: COMPUTED, or FAILED if the sample is invalid or exceeds the budget.

    `chunks` are all compressed chunks of the sample in order. Raises `MemoryError` if the process lacks memory.
    """
    result = partial(Result, header.submitter, header.id, update_time, header.shard, submitted_at=header.submitted_at)
    check = _budget(max_seconds)
    try:
        if header.chunks:
            sample = chunked_sample.read(header, chunks, check)
        else:
            sample = payload.read(header.assemble(()), header.default_time_zone())
        statistics = summarize(np.frombuffer(sample.data), check)
    except InvalidSample as error:
        return result(Status.FAILED, problem=error.problems[0])
    except NotJson as error:
        return result(Status.FAILED, problem=Problem("$", f"the stored sample is {error}", ProblemCode.INCOMPLETE))
    except OverBudget:
        message = f"the computation needs more than {max_seconds:g} s of processor time; split the sample"
        return result(Status.FAILED, problem=Problem("$", message, ProblemCode.OVER_BUDGET))
    return result(
        Status.COMPUTED,
        timestamp=sample.timestamp,
        statistics=statistics,
        labels=header.labels or sample.labels,
    )


def _budget(max_seconds: float) -> Callable[[], None]:
    """Return a function that raises `OverBudget` after `max_seconds` of processor time of this thread."""
    end = time.thread_time() + max_seconds

    def check() -> None:
        if time.thread_time() > end:
            raise OverBudget

    return check
