"""The functions Eventarc calls. To return is to say "done", to raise is to say "send it again".

So only that is raised which a repetition can cure: a Firestore that does not answer, a machine short of memory
or threads, no turn yet. All else would be the same for ever, so it becomes a document that says so: a
FAILED result. Events come at least once and in any order; `triggers.store` makes that writing it twice is writing
it once. The trap: functions-framework logs a traceback for whatever is raised, and while Firestore is away
that is every event, so that case is answered with status 503 and one line.
"""

import asyncio
import gc
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import cache, partial

import functions_framework.aio
import numpy as np
from cloudevents.abstract import CloudEvent
from starlette.exceptions import HTTPException

from storage.documents import (
    Arrival,
    Header,
    InvalidSample,
    NotJson,
    Problem,
    ProblemCode,
    Result,
    Status,
    Unavailable,
    payload,
)
from storage.firestore import encoding
from triggers import chunks as chunked
from triggers import events
from triggers.store import Store, connect
from triggers.summary import summarise

logger = logging.getLogger("triggers")

GARBAGE_OBJECTS = 20_000  # an event makes hundreds, and leaves next to none that only a collection could find

LARGE_WAIT_SECONDS = 5.0
"""How long an event waits for its turn before it is to be sent again: its sender does not wait for ever either."""

_large = asyncio.Semaphore(1)
"""Large samples are taken one at a time, so that memory stays within a small multiple of the largest."""

_NOT_COMPUTABLE = Problem(
    "$",
    "this sample cannot be computed, and the fault is ours; an operator finds it in the log",
    ProblemCode.NOT_COMPUTABLE,
)


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
    document = await store.header(written)
    if document is None:
        return
    if "state_on_arrival" not in document.fields:
        logger.warning("%s/%s ignored: it is no sample of ours", written.submitter, written.sample_id)
        return
    update_time = encoding.to_datetime(document.update_time)
    try:
        header = Header.from_fields(written.submitter, written.sample_id, encoding.from_document(document))
        if header.arrival is Arrival.REJECTED:
            return
        result = await _result(store, header, update_time)
        await store.write_result(result)
    except (Unavailable, MemoryError, RuntimeError):  # RuntimeError: no thread, or the process ends
        raise
    except Exception:  # what is left would be the same the next time
        logger.exception("%s/%s can never be computed", written.submitter, written.sample_id)
        result = Result(written.submitter, written.sample_id, update_time, 0, Status.FAILED, problem=_NOT_COMPUTABLE)
        await store.write_result(result)
    if result.problem is None:
        logger.debug("%s/%s %s", result.submitter, result.sample_id, result.status)
    else:
        logger.warning("%s/%s %s: %s", result.submitter, result.sample_id, result.status, result.problem.message)


async def _result(store: Store, header: Header, update_time: datetime) -> Result:
    """Return what is computed from a sample, or why it never can be."""
    if not header.chunks:
        return _computed(header, update_time)
    try:
        async with asyncio.timeout(LARGE_WAIT_SECONDS):
            await _large.acquire()
    except TimeoutError:
        raise Unavailable("other large samples are being computed") from None
    try:
        return await asyncio.to_thread(_computed, header, update_time, await store.chunks(header))
    finally:
        _large.release()


def _computed(header: Header, update_time: datetime, chunks: Sequence[bytes] = ()) -> Result:
    result = partial(Result, header.submitter, header.id, update_time, header.shard)
    try:
        if header.chunks:
            read = chunked.read(header, chunks)
        else:
            read = payload.read(header.assemble(()), header.default_time_zone())
    except InvalidSample as fault:
        return result(Status.FAILED, problem=fault.problems[0])
    except NotJson as fault:
        return result(Status.FAILED, problem=Problem("$", f"expected a sample, {fault}", ProblemCode.INCOMPLETE))
    return result(Status.COMPUTED, timestamp=read.timestamp, statistics=summarise(np.frombuffer(read.data)))


@cache
def _store(database: str) -> Store:
    return Store(_channel(), database)


_channel = cache(connect)


# Whoever imports this module is the function's process, and what it has imported by now stays.
gc.freeze()
gc.set_threshold(GARBAGE_OBJECTS, 20, 100)
