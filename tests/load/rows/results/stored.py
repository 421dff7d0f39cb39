"""Samples and results of all states, stored without the API and the function, but with the fields that these write.

There are as many COMPUTED samples as the rows name, and one in a hundred more in each other state. The time of each
submission is part of the header here: at server time, all samples would be submitted within minutes.
"""

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec.structs import replace

from storage.documents import Header, Problem, ProblemCode, Result, Status, document_paths, labels
from storage.firestore import encoding
from tests.load import samples, stack_processes
from tests.load.firestore_client import Firestore
from tests.load.stack_processes import SUBMITTER
from tests.received import received_sample
from triggers.computation import summarize
from triggers.statistics.distribution import sketch

START = datetime(2025, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=31)
"""Between two samples. One million of them span a year."""
SENSORS = 50
OTHER_STATES = ("PENDING", "FAILED", "REJECTED", "SUPERSEDED")
_EACH = 100
_TOGETHER = 200
"""With the samples in other states, these are up to 412 writes. Firestore accepts 500."""
_SEED = 1
_VALUES = np.linspace(-1, 1, 10)
_STATISTICS, _SKETCH = summarize(_VALUES), sketch(_VALUES.tolist())
_ACCEPTED = received_sample(samples.sample(len(_VALUES)), submitter=SUBMITTER).header
_REJECTED = received_sample(b'{"data": []}', submitter=SUBMITTER).header
_FAILED = Problem("$.data", "the mean exceeds the largest double", ProblemCode.NOT_COMPUTABLE)

_Documents = Iterator[tuple[str, Mapping[str, object]]]
"""Paths and fields."""


def others(count: int, sensor: int | None = None) -> int:
    """Return the number of samples in each other state next to `count` COMPUTED ones, or those of one sensor."""
    total = -(-count // _EACH)
    return total if sensor is None else len(range(sensor, total, SENSORS))


async def store(address: str, first: int, last: int) -> None:
    """Store the samples and results with the numbers from `first` up to `last`."""
    chance = random.Random(_SEED + first)
    async with Firestore.connect(address, stack_processes.PROJECT) as firestore:
        for start in range(first, last, _TOGETHER):
            documents = [*_series()] if start == 0 else []
            for number in range(start, min(last, start + _TOGETHER)):
                documents += _computed(number, chance)
                if number % _EACH == 0:
                    documents += _in_other_states(number)
            await firestore.batch_write([encoding.to_write(firestore.name(path), each) for path, each in documents])


def _series() -> _Documents:
    for sensor in range(SENSORS):
        given = _labels(sensor)
        yield document_paths.series(SUBMITTER, labels.term(given)), {"labels": given}


def _computed(number: int, chance: random.Random) -> _Documents:
    sample_id, moment, given = _id(str(number)), START + number * INTERVAL, _labels(number)
    mean, deviation = chance.gauss(1, 1), abs(chance.gauss(1, 0.1))
    statistics = replace(
        _STATISTICS,
        mean=mean,
        median=mean,
        standard_deviation=deviation,
        minimum=mean - 3 * deviation,
        maximum=mean + 3 * deviation,
    )
    yield _sample(replace(_ACCEPTED, id=sample_id, labels=given), moment)
    result = _result(sample_id, moment, Status.COMPUTED, given)
    yield _stored(replace(result, timestamp=moment, statistics=statistics, sketch=_SKETCH))


def _in_other_states(number: int) -> _Documents:
    moment, given, corrected_by = START + number * INTERVAL, _labels(number // _EACH), _id(str(number))
    pending, failed, rejected, superseded = (_id(f"{state}-{number}") for state in OTHER_STATES)
    yield _sample(replace(_ACCEPTED, id=pending, labels=given), moment)
    yield _sample(replace(_ACCEPTED, id=failed, labels=given), moment)
    yield _stored(replace(_result(failed, moment, Status.FAILED, given), problem=_FAILED))
    yield _sample(replace(_REJECTED, id=rejected, labels=given), moment)
    yield _sample(replace(_ACCEPTED, id=superseded, labels=given, superseded_by=corrected_by), moment)
    result = _result(superseded, moment, Status.SUPERSEDED, given)
    yield _stored(replace(result, timestamp=moment, statistics=_STATISTICS, sketch=_SKETCH, superseded_by=corrected_by))


def _sample(header: Header, submitted_at: datetime) -> tuple[str, Mapping[str, object]]:
    return document_paths.sample(SUBMITTER, header.id), header.fields() | {"submitted_at": submitted_at}


def _result(sample_id: str, moment: datetime, status: Status, given: labels.Labels) -> Result:
    return Result(SUBMITTER, sample_id, moment, 0, status, submitted_at=moment, labels=given)


def _stored(result: Result) -> tuple[str, Mapping[str, object]]:
    return document_paths.result(SUBMITTER, result.sample_id), result.fields()


def _labels(number: int) -> labels.Labels:
    return {"sensor": f"sensor_{number % SENSORS}"}


def _id(key: str) -> str:
    return document_paths.keyed_sample_id(SUBMITTER, key)
