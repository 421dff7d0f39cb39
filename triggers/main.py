"""The functions Eventarc calls. To return is to say "done", to raise is to say "send it again".

So a function catches only what no repetition can cure, and leaves a document that says so: a FAILED
result. Events come at least once and in any order; `triggers.store` makes that writing it twice is writing
it once. The trap: functions-framework logs a traceback for whatever is raised, and while Firestore is away
that is every event, so that case is answered with status 503 and one line.
"""

import asyncio
import logging
from collections.abc import Iterable
from functools import cache

import functions_framework.aio
import numpy as np
import zstandard
from cloudevents.abstract import CloudEvent
from starlette.exceptions import HTTPException

from documents import (
    Arrival,
    InvalidSample,
    NotJson,
    Problem,
    ProblemCode,
    Result,
    Status,
    Unavailable,
    payload,
)
from triggers import events
from triggers.store import Store, StoredSample, connect
from triggers.summary import summarise

logger = logging.getLogger("triggers")

_large = asyncio.Semaphore(1)
"""Large samples are taken one at a time, so that memory stays within a small multiple of the largest."""


@functions_framework.aio.cloud_event
async def on_sample_written(event: CloudEvent) -> None:
    """Write what is computed from a sample to its sibling `results/{id}`."""
    written = events.read(event)
    if written is None or written.deleted:
        return
    try:
        await _compute(_store(written.database), written)
    except Unavailable as fault:
        logger.warning("%s/%s is to be sent again: %s", written.submitter, written.sample_id, fault)
        raise HTTPException(503, str(fault)) from fault


async def _compute(store: Store, written: events.SampleWritten) -> None:
    try:
        sample = await store.sample(written)
    except (KeyError, ValueError) as fault:
        logger.warning("%s/%s ignored: it is no sample of ours (%r)", written.submitter, written.sample_id, fault)
        return
    if sample is None or sample.header.arrival is Arrival.REJECTED:
        return
    if sample.header.chunks:
        async with _large:
            result = await asyncio.to_thread(_result, sample, await store.chunks(sample.header))
    else:
        result = _result(sample)
    await store.write_result(result)
    if result.problem is None:
        logger.debug("%s/%s %s", result.submitter, result.sample_id, result.status)
    else:
        logger.warning("%s/%s %s: %s", result.submitter, result.sample_id, result.status, result.problem.message)


def _result(sample: StoredSample, chunks: Iterable[bytes] = ()) -> Result:
    """Return what is computed from `sample`, or why it never can be."""
    header = sample.header
    try:
        read = payload.read(header.assemble(chunks), header.default_time_zone())
    except InvalidSample as fault:
        return _failed(sample, fault.problems[0])
    except (NotJson, zstandard.ZstdError) as fault:
        return _failed(sample, Problem("$", f"expected a sample, {fault}", ProblemCode.INCOMPLETE))
    return Result(
        header.submitter,
        header.id,
        sample.update_time,
        header.shard,
        Status.COMPUTED,
        timestamp=read.timestamp,
        statistics=summarise(np.frombuffer(read.data)),
    )


def _failed(sample: StoredSample, problem: Problem) -> Result:
    header = sample.header
    return Result(header.submitter, header.id, sample.update_time, header.shard, Status.FAILED, problem=problem)


@cache
def _store(database: str) -> Store:
    return Store(_channel(), database)


_channel = cache(connect)
