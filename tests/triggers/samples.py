"""Samples for the tests of the function."""

import json

import numpy as np

from storage.documents import Sample
from storage.documents.chunks import CHUNK_BYTES
from tests.received import received_sample


def new_sample(submitter: str, *values: float, time_stamp: str = "2019-05-01T06:00:00-04:00") -> Sample:
    """Return a sample of `values`, by default three."""
    raw = json.dumps({"time_stamp": time_stamp, "data": values or [1.0, 2.0, 4.5]}).encode()
    return received_sample(raw, submitter=submitter)


def new_large_sample(submitter: str) -> tuple[Sample, "np.typing.NDArray[np.float64]"]:
    """Return a sample of several chunks, and its values."""
    values = np.random.default_rng(3).normal(1e6, 2.0, size=3 * CHUNK_BYTES // 20)
    sample = new_sample(submitter, *values.tolist())
    assert sample.header.chunks > 2
    return sample, values
