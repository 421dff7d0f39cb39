"""Counts samples by their outcome, for all protocols. All protocols store samples through the receiver.

The availability alert compares the samples that failed with all samples. It leaves out errors of the client.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from graphql_api import metrics
from graphql_api.errors import HTTP_STATUS, code_of
from storage.documents import Header, state_of


def count_stored(header: Header, started: float) -> None:
    """Count a stored sample. `started` is the value of `time.perf_counter` when its last byte arrived."""
    metrics.submit_duration(state_of(header.arrival)).observe(time.perf_counter() - started)
    metrics.SUBMITTED_BYTES.inc(header.byte_count)


def count_failed(error: Exception, samples: int = 1) -> None:
    """Count samples that `error` kept from being stored, unless it is an error of the client."""
    code = code_of(error)
    if HTTP_STATUS.get(code, 400) >= 500:
        metrics.failed_samples(code).inc(samples)


@contextmanager
def count_failures(samples: int) -> Iterator[None]:
    """Count `samples` samples as failed if the block raises an exception."""
    try:
        yield
    except Exception as error:
        count_failed(error, samples)
        raise
