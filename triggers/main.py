"""The functions that Eventarc calls: returning acknowledges an event, raising requests redelivery.

The function raises only if a retry can succeed: if Firestore is unavailable, if too many results wait for it, or if the
process lacks memory, threads or time. Any other failure would repeat, so the function stores a FAILED result.

functions-framework logs a traceback for every exception except `HTTPException`. While Firestore is unavailable, every
event fails. For each of these events, the function responds with status 503 and logs one line.
"""

import asyncio
import logging
import time
import traceback
from datetime import datetime
from functools import cache, partial

import functions_framework.aio
from cloudevents.abstract import CloudEvent
from msgspec.structs import replace
from prometheus_client import Histogram
from starlette.exceptions import HTTPException

from observability import tracing
from observability.throttled_log import ThrottledLog
from runtime import memory_release
from storage.documents import Arrival, Header, Problem, ProblemCode, Result, RetryLater, Status, Unavailable, timestamps
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from triggers import computation, sample_event
from triggers.concurrency_limiter import ConcurrencyLimiter
from triggers.large_sample_computer import OUT_OF_MEMORY, LargeSampleComputer
from triggers.result_store import ResultStore
from triggers.sample_event import Notice, SampleEvent

logger = logging.getLogger("triggers")
_responses_503 = ThrottledLog(logger)

READ_TIMEOUT_SECONDS = 30.0
READINESS_TIMEOUT_SECONDS = 1.0
WRITE_TIMEOUT_SECONDS = 8.0
"""Less than the default acknowledgement deadline of Eventarc, 10 s, so that the function can report a failure."""

MAX_NEW_SECONDS = 60.0
"""An event is new if its write is not older than this. A new event shows the current version of the sample."""

MEMORY_RETRY_SECONDS = 5

_NEW_OBJECTS = 20_000
"""New objects between two garbage collections, as in `graphql_api/__main__.py`."""

MAX_SMALL_BYTES = 16 * 1024
"""Computing a sample of up to this size usually takes less than 1 ms. A sample of 240 KiB takes up to 20 ms."""

MEDIUM_WRITE_SECONDS = 0.02
"""While medium samples wait for their turn, results are written together at the end of each interval of this length.

Measured with 10,000 values: a BatchWrite has 8 results instead of 2. This saves half of the work in Firestore, and 10 %
of the work in this process.
"""

_small_sample_computer = computation.SmallSampleComputer()
_medium_sample_limiter = ConcurrencyLimiter(max_running=1, max_waiting_per_submitter=1_000)
_large_sample_computer = LargeSampleComputer()

_NOT_COMPUTABLE = Problem(
    "$",
    "the statistics of this sample cannot be computed because of an internal error; see the log of the function",
    ProblemCode.NOT_COMPUTABLE,
)

IGNORED = "IGNORED"
"""The outcome of an event that needs no result."""
UNAVAILABLE = "UNAVAILABLE"
"""The outcome of an event that must be sent again."""

_DURATION = Histogram(
    "dropzone_function_duration_seconds",
    "Time to process an event, in seconds, by outcome. The count is the number of events.",
    ["outcome"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
# Prometheus sees no increase in a counter whose first value is 1. All outcomes therefore start at 0.
_durations = {outcome: _DURATION.labels(outcome) for outcome in (*map(str, Status), IGNORED, UNAVAILABLE)}


@functions_framework.aio.cloud_event
async def on_sample_written(cloud_event: CloudEvent) -> None:
    """Write the statistics of a sample to `results/{id}`.

    Events arrive at least once and in any order. The result has the id of its sample, so a
    repeated event does not create a second result.
    """
    event = sample_event.parse(cloud_event)
    if event is None or event.is_deletion:
        return
    if not tracing.is_on:
        await _process(event)
        return
    fields = {} if event.header is None else event.header.fields
    stored = fields["traceparent"].string_value if "traceparent" in fields else ""
    delivered = str(cloud_event.get("traceparent") or "")  # on Google Cloud, events have no such attribute
    if stored or delivered:
        with tracing.request_span("compute", "CONSUMER", parent=delivered or stored, links=[stored]):
            await _process(event)
    else:
        await _process(event)


async def on_dead_letter(body: bytes) -> None:
    """Write a FAILED result for the sample of a dead letter, unless it has a result.

    `body` is the request that the push subscription of the dead-letter topic sends.
    """
    event = sample_event.parse_dead_letter(body)
    if event is not None and not event.is_deletion:
        await _process(event)


async def _process(event: SampleEvent) -> None:
    """Process an event or a notice. Raises `HTTPException` if a retry can succeed."""
    started_at = time.perf_counter()
    outcome = UNAVAILABLE
    try:
        outcome = await _write_result(_connect(event.database), event)
    except RetryLater as error:
        _responses_503.warning(
            "sample %s/%s: responded 503, so Eventarc sends the event again: %s",
            event.submitter,
            event.sample_id,
            error,
        )
        raise HTTPException(503, str(error), {"retry-after": str(error.retry_after)}) from error
    finally:
        _durations[outcome].observe(time.perf_counter() - started_at)


async def check_firestore() -> None:
    """Read from the default database. Raises `Unavailable` if Firestore does not respond."""
    await _default_database().ping(READINESS_TIMEOUT_SECONDS)


@cache
def _default_database() -> Firestore:
    return Firestore.connect(timeout_seconds=READINESS_TIMEOUT_SECONDS)


@cache
def _connect(database: str) -> ResultStore:
    """Return the store of the database that the event names. Its channel belongs to the running event loop."""
    firestore = Firestore.connect(timeout_seconds=READ_TIMEOUT_SECONDS, database=database)
    return ResultStore(firestore, GroupCommitWriter(firestore, timeout_seconds=WRITE_TIMEOUT_SECONDS))


async def _write_result(store: ResultStore, event: SampleEvent) -> str:
    """Write the result of the sample. Return the status of the result, or IGNORED if none was needed."""
    if event.notice is not None:
        return await _write_given_up(store, event, event.notice)
    document = await _header_without_result(store, event)
    if document is None:
        return IGNORED
    update_time = encoding.to_datetime(document.update_time)
    failed = partial(_failed, event, document, update_time)
    try:
        header = Header.from_fields(event.submitter, event.sample_id, encoding.from_document(document))
        if header.arrival is Arrival.REJECTED:
            return IGNORED
        result = await _compute(store, header, update_time)
        if result.labels and not header.labels:
            await store.add_labels(result)
            return IGNORED
        is_written = await store.write(result)
    except RetryLater:
        raise
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)  # the frames hold the numbers of the sample in memory
        is_large = "chunks" in document.fields
        if not is_large or not _large_sample_computer.count_memory_error(event.submitter, event.sample_id):
            raise Unavailable("too little memory", retry_after=MEMORY_RETRY_SECONDS) from None
        result = failed(OUT_OF_MEMORY)
        is_written = await store.write(result)
    except Exception:  # no retry can fix this
        logger.exception("sample %s/%s: cannot compute the statistics", event.submitter, event.sample_id)
        result = failed(_NOT_COMPUTABLE)
        is_written = await store.write(result)
    if not is_written and not await store.is_needed(event, update_time):  # it was deleted or computed in the meantime
        return IGNORED
    _log(result)
    return result.status


async def _header_without_result(store: ResultStore, event: SampleEvent) -> Document | None:
    """Return the header of the event, or None if it needs no result."""
    document = await store.read_header(event)
    if document is None:
        return None
    if "state_on_arrival" not in document.fields:
        logger.warning("sample %s/%s: event ignored, not a sample header", event.submitter, event.sample_id)
        return None
    update_time = encoding.to_datetime(document.update_time)
    is_new = 0 <= time.time() - update_time.timestamp() <= MAX_NEW_SECONDS
    if is_new and "chunks" not in document.fields:
        return document
    return document if await store.is_needed(event, update_time) else None


async def _write_given_up(store: ResultStore, event: SampleEvent, notice: Notice) -> str:
    """Write a FAILED result, unless the sample has a result. An event of a later change replaces the FAILED result.

    Return the outcome.
    """
    since = "" if event.written_at is None else f" since {timestamps.to_text(event.written_at)}"
    reason = (
        f"the function failed {notice.attempts} times{since} to compute this sample; recompute it to try again. "
        f"The last problem: {notice.problem}"
    )
    result = await store.give_up(event.submitter, event.sample_id, reason, written_at=event.written_at)
    if result is None:
        return IGNORED
    _log(result)
    return result.status


def _failed(event: SampleEvent, document: Document, update_time: datetime, problem: Problem) -> Result:
    """Return the result of a sample that cannot be computed. Its header may be damaged."""
    fields = encoding.from_document(document)
    failed = Result.failed(event.submitter, event.sample_id, update_time, fields, problem)
    header = Header.from_damaged_fields(event.submitter, event.sample_id, fields)
    return replace(failed, labels=header.labels, superseded_by=header.superseded_by)


async def _compute(store: ResultStore, header: Header, update_time: datetime) -> Result:
    if header.chunks:
        return await _large_sample_computer.compute(store, header, update_time)
    if header.byte_count > MAX_SMALL_BYTES:
        return await _compute_medium(header, update_time)
    return await _small_sample_computer.compute(header, update_time)


async def _compute_medium(header: Header, update_time: datetime) -> Result:
    """Return the result of a medium sample. Submitters take turns with medium samples. Small samples do not wait."""
    async with _medium_sample_limiter.turn(header.submitter, object(), 0):
        await _small_sample_computer.give_way()
        result = computation.compute(header, update_time)
    if _medium_sample_limiter.has_waiting:
        # All results of an interval wait until the same moment, and share a BatchWrite.
        await asyncio.sleep(MEDIUM_WRITE_SECONDS - asyncio.get_running_loop().time() % MEDIUM_WRITE_SECONDS)
    return result


def _log(result: Result) -> None:
    if result.problem is None:
        logger.debug("sample %s/%s: %s", result.submitter, result.sample_id, result.status)
    else:
        logger.warning(
            "sample %s/%s: %s: %s", result.submitter, result.sample_id, result.status, result.problem.message
        )


# Only the function's process imports this module. The imported objects live as long as the process. An event creates
# hundreds of objects but almost no reference cycles. Fewer collections save an eighth of the function's CPU time.
memory_release.configure(_NEW_OBJECTS)
