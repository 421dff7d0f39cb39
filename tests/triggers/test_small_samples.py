"""Samples of few values: those that arrive at the same time are computed together."""

import asyncio
import json
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest
from msgspec.structs import replace

from storage.documents import Header, Status
from tests.received import received_sample
from triggers.computation import SmallSampleComputer, compute
from triggers.statistics import rounded_moments

NOW = datetime.now(UTC)


def new_header(count: int, submitter: str = "tenant") -> Header:
    """Return the header of a new sample of `count` values."""
    random = Random(count)
    data = [random.gauss(1.0, 1.0) for _ in range(count)]
    raw = json.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": data}).encode()
    return received_sample(raw, submitter=submitter, idempotency_key=str(count)).header


async def test_samples_computed_together_have_the_results_of_samples_computed_alone() -> None:
    """A sample that fails does not affect the others, and samples can have different numbers of values."""
    headers = [new_header(count) for count in (1, 39, 40, 100, 101, 100, 200, 201)]
    headers.append(replace(headers[3], sha256="of other bytes"))
    samples = SmallSampleComputer()

    results = await asyncio.gather(*(samples.compute(header, NOW) for header in headers))

    assert results == [compute(header, NOW) for header in headers]
    assert [result.status for result in results] == [*[Status.COMPUTED] * 8, Status.FAILED]


async def test_an_error_affects_only_the_sample_that_causes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is unexpected, so the function then stores a FAILED result for this sample."""
    of_small_samples = rounded_moments.of_small_samples

    def of_small_samples_up_to_100(samples: list[list[float]]) -> list[rounded_moments.RoundedMoments | None]:
        assert max(map(len, samples)) <= 100
        return of_small_samples(samples)

    monkeypatch.setattr(rounded_moments, "of_small_samples", of_small_samples_up_to_100)
    samples = SmallSampleComputer()

    computing = [samples.compute(new_header(count), NOW) for count in (99, 101, 100)]
    first, second, third = await asyncio.gather(*computing, return_exceptions=True)

    assert isinstance(second, AssertionError)
    monkeypatch.undo()
    assert [first, third] == [compute(new_header(count), NOW) for count in (99, 100)]


async def test_samples_that_arrive_together_share_many_iterations_of_the_event_loop() -> None:
    """The sample of another submitter, which arrives last, is among the first ones."""
    header, samples = new_header(500), SmallSampleComputer()
    tasks = [asyncio.create_task(samples.compute(header, NOW)) for _ in range(200)]
    tasks.append(asyncio.create_task(samples.compute(new_header(500, "another tenant"), NOW)))

    done, done_before_other = [0], 0
    while done[-1] < len(tasks):
        await asyncio.sleep(0)
        done.append(sum(task.done() for task in tasks))
        done_before_other = done_before_other if tasks[-1].done() else done[-1]

    assert max(later - earlier for earlier, later in pairwise(done)) <= 20
    assert done_before_other == 0


async def test_a_cancelled_sample_does_not_affect_the_others() -> None:
    """Its client has closed the connection, or the process ends."""
    samples = SmallSampleComputer()
    cancelled, other = (asyncio.create_task(samples.compute(new_header(count), NOW)) for count in (40, 41))
    for _ in range(3):  # until both wait for their moments
        await asyncio.sleep(0)

    cancelled.cancel()

    assert await other == compute(new_header(41), NOW)
    assert cancelled.cancelled()
    assert (await samples.compute(new_header(42), NOW)).status is Status.COMPUTED
