"""The functions that Eventarc calls: returning acknowledges an event, raising requests redelivery.

The function raises only if a retry can succeed: Firestore is unavailable, or the process lacks
memory, threads or time. Any other failure would repeat, so the function stores a FAILED result.

functions-framework logs a traceback for every exception except `HTTPException`. While Firestore is
unavailable, every event fails. The function then responds with status 503 and logs one line.
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
)
from storage.documents.validation import payload
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from triggers import chunked_sample, sample_event
from triggers.result_store import ResultStore
from triggers.sample_event import SampleEvent
from triggers.summary import summarize

logger = logging.getLogger("triggers")

READ_TIMEOUT_SECONDS = 30.0
WRITE_TIMEOUT_SECONDS = 8.0
"""Less than the default acknowledgement deadline of Eventarc, 10 s, so that the function can report a failure."""

MAX_LARGE_WAIT_SECONDS = 5.0
"""How long a large sample waits for other large samples. After that, the function responds with status 503."""

_large_samples = asyncio.Semaphore(1)
"""Large samples are computed one at a time. This limits memory to a small multiple of the largest sample."""

_NOT_COMPUTABLE = Problem(
    "$",
    "the statistics of this sample cannot be computed because of an internal error; see the log of the function",
    ProblemCode.NOT_COMPUTABLE,
)

GC_THRESHOLD_OBJECTS = 20_000


@functions_framework.aio.cloud_event
async def on_sample_written(cloud_event: CloudEvent) -> None:
    """Write the statistics of a sample to `results/{id}`.

    Events arrive at least once and in any order. The result has the id of its sample, so a
    repeated event does not create a second result.
    """
    event = sample_event.parse(cloud_event)
    if event is None or event.is_deletion:
        return
    try:
        await _write_result(_connect(event.database), event)
    except Unavailable as error:
        logger.warning(
            "sample %s/%s: responded 503, so Eventarc sends the event again: %s",
            event.submitter,
            event.sample_id,
            error,
        )
        raise HTTPException(503, str(error)) from error


@cache
def _connect(database: str) -> ResultStore:
    """Return the store of the database that the event names. The channel belongs to the running event loop."""
    firestore = Firestore.connect(timeout_seconds=READ_TIMEOUT_SECONDS, database=database)
    return ResultStore(firestore, GroupCommitWriter(firestore, timeout_seconds=WRITE_TIMEOUT_SECONDS))


async def _write_result(store: ResultStore, event: SampleEvent) -> None:
    document = await store.read_header(event)
    if document is None:
        return
    if "state_on_arrival" not in document.fields:
        logger.warning("sample %s/%s: event ignored, not a sample header", event.submitter, event.sample_id)
        return
    update_time = encoding.to_datetime(document.update_time)
    try:
        header = Header.from_fields(event.submitter, event.sample_id, encoding.from_document(document))
        if header.arrival is Arrival.REJECTED:
            return
        result = await _compute(store, header, update_time)
        await store.write(result)
    except (Unavailable, MemoryError, RuntimeError):  # RuntimeError: no thread can start, or the process is ending
        raise
    except Exception:  # no retry can fix this
        logger.exception("sample %s/%s: cannot compute the statistics", event.submitter, event.sample_id)
        result = Result(event.submitter, event.sample_id, update_time, 0, Status.FAILED, problem=_NOT_COMPUTABLE)
        await store.write(result)
    if result.problem is None:
        logger.debug("sample %s/%s: %s", result.submitter, result.sample_id, result.status)
    else:
        logger.warning(
            "sample %s/%s: %s: %s", result.submitter, result.sample_id, result.status, result.problem.message
        )


async def _compute(store: ResultStore, header: Header, update_time: datetime) -> Result:
    """Return the result of a sample, COMPUTED or FAILED. A large sample waits until no other one is being computed."""
    if not header.chunks:
        return _computed(header, update_time)
    try:
        async with asyncio.timeout(MAX_LARGE_WAIT_SECONDS):
            await _large_samples.acquire()
    except TimeoutError:
        raise Unavailable(
            f"waited {MAX_LARGE_WAIT_SECONDS:g} s for other large samples; send the event again"
        ) from None
    try:
        return await asyncio.to_thread(_computed, header, update_time, await store.read_chunks(header))
    finally:
        _large_samples.release()


def _computed(header: Header, update_time: datetime, chunks: Sequence[bytes] = ()) -> Result:
    result = partial(Result, header.submitter, header.id, update_time, header.shard)
    try:
        if header.chunks:
            sample = chunked_sample.read(header, chunks)
        else:
            sample = payload.read(header.assemble(()), header.default_time_zone())
    except InvalidSample as error:
        return result(Status.FAILED, problem=error.problems[0])
    except NotJson as error:
        return result(Status.FAILED, problem=Problem("$", f"the stored sample is {error}", ProblemCode.INCOMPLETE))
    return result(Status.COMPUTED, timestamp=sample.timestamp, statistics=summarize(np.frombuffer(sample.data)))


# Only the function's process imports this module. The imported objects live as long as the process. An event creates
# hundreds of objects but almost no reference cycles. Fewer collections save an eighth of the function's CPU time.
gc.freeze()
gc.set_threshold(GC_THRESHOLD_OBJECTS, 20, 100)
