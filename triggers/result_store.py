"""The result store: reads a sample from Firestore and writes its result once.

Events arrive at least once and in any order. A result therefore stores the update time of its
sample. Only a result with a newer update time replaces it.

A new sample has no result, so the store first tries to create the result without a read. If a result exists, the store
reads it. If the existing result is older, the store replaces it on the condition that it has not changed. If the
condition fails, the store starts again.

Events are authentic, so a new event shows the current sample. An older event may be late: the sample may have changed,
may have a result, or may not exist any more. For an older event, `is_needed` therefore reads both documents. Measured:
a read for each new sample would reduce the rate of the function by 11 %.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from observability import request_context
from storage.documents import (
    Arrival,
    Header,
    Problem,
    ProblemCode,
    Result,
    Status,
    Unavailable,
    belongs_to_sample,
    copy_with_new_id,
    document_paths,
    labels,
)
from storage.documents.stored_fields import read_optional_text
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, InvalidWrite, PreconditionFailed
from storage.firestore.messages import Document, Write
from storage.firestore.reads.grouped_reader import GroupedReader
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from triggers.sample_event import SampleEvent
from triggers.series_registry import SeriesRegistry

MAX_SUSPENSION = timedelta(hours=1)
"""A result that expires within this time is created only if its sample exists.

A process can be suspended before it writes the result. Another process may then have moved a result of the sample into
the hourly archive.
"""
_STATE_FIELDS = ("status", "sample_update_time", "problem.code", "submitted_at")
_GIVEN_UP_FIELDS = ("state_on_arrival", "shard", "submitted_at", "labels", "result_expire_at", "superseded_by")
_REPLACED_FIELDS = (*_STATE_FIELDS, "computed_at", "first_computed_at", "superseded_by")

logger = logging.getLogger("triggers")


class ResultStore:
    """Samples and results of one database.

    Every method raises `Unavailable` if Firestore does not respond or rejects the call. Some of these errors, such as a
    missing permission, must be fixed by an operator. Until then, Eventarc sends the event again.
    """

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        self._firestore = firestore
        self._writer = writer
        self._states = GroupedReader(firestore, _STATE_FIELDS)
        self._series = SeriesRegistry(firestore, writer)

    async def read_header(self, event: SampleEvent) -> Document | None:
        """Return the header of a sample as a protocol `Document`, or None if the sample does not exist.

        The header comes from the event. If the event has none, this method reads the current header.
        """
        if event.header is not None:
            return event.header
        path = document_paths.sample(event.submitter, event.sample_id)
        return (await self._read([path])).get(path)

    async def is_needed(self, event: SampleEvent, update_time: datetime) -> bool:
        """Return whether the sample exists as it was at `update_time` and has no result of that version.

        An expired sample does not need a result, unless another sample has corrected it before and its COMPUTED result
        is kept. Otherwise, lists would contain the results of both samples.
        """
        sample = document_paths.sample(event.submitter, event.sample_id)
        result = document_paths.result(event.submitter, event.sample_id)
        try:
            states = await self._states.read(sample, result)
        except FirestoreError as error:
            raise Unavailable(str(error)) from error
        fields = encoding.from_document(states[result]) if result in states else None
        if sample not in states:
            if fields is not None and event.supersedes(fields) and not _is_final(fields, update_time):
                return True
            logger.info("sample %s/%s: event ignored, the sample was deleted", event.submitter, event.sample_id)
            return False
        stored = encoding.to_datetime(states[sample].update_time)
        if stored < update_time:
            logger.warning(
                "sample %s/%s: event ignored, its update time %s is later than the update time of the sample, %s",
                event.submitter,
                event.sample_id,
                update_time.isoformat(),
                stored.isoformat(),
            )
        return stored == update_time and not (fields is not None and _is_final(fields, update_time))

    async def give_up(
        self, submitter: str, sample_id: str, reason: str, *, written_at: datetime | None = None
    ) -> Result | None:
        """Write a FAILED result with the code GIVEN_UP, and return it.

        The result belongs to the version of the sample at `written_at`, so an event of a later version replaces it.
        Return None and write nothing if the sample does not exist or was REJECTED. Do the same if the sample has a
        result, even a result of an earlier version: a failed recomputation does not change the result. Exception: the
        COMPUTED result of a superseded sample is replaced, as in `write`.
        """
        path = document_paths.sample(submitter, sample_id)
        document = (await self._read([path], *_GIVEN_UP_FIELDS)).get(path)
        if document is None:
            return None
        update_time = encoding.to_datetime(document.update_time)
        fields = encoding.from_document(document)
        if fields.get("state_on_arrival") == Arrival.REJECTED.value:
            return None
        version = update_time if written_at is None else min(written_at, update_time)
        problem = Problem("$", reason, ProblemCode.GIVEN_UP)
        fields.setdefault("submitted_at", update_time)
        failed = Result.failed(submitter, sample_id, version, fields, problem)
        result = replace(
            failed, labels=labels.from_fields(fields), superseded_by=read_optional_text(fields, "superseded_by")
        )
        return result if await self.write(result) else None

    async def read_chunks(self, header: Header) -> list[bytes]:
        """Return the existing chunks of a sample in order. `Header.assemble` reports missing chunks."""
        paths = header.chunk_paths()
        documents = await self._read(paths)
        # pop() frees each message as its bytes are copied, so that the chunks are not in memory twice.
        return [documents.pop(path).fields["data"].bytes_value for path in paths if path in documents]

    async def add_labels(self, result: Result) -> None:
        """Store the labels of a result in the header of its sample, which was stored before there were labels.

        This changes the header, which triggers the function again. The result is written then. Nothing is written if
        the header has changed already.
        """
        path = document_paths.sample(result.submitter, result.sample_id)
        write = encoding.to_partial_write(self._firestore.name(path), labels.stored_fields(result.labels))
        write.current_document.update_time.FromDatetime(result.sample_update_time)
        await self._try_write([write], result.submitter)

    async def write(self, result: Result) -> bool:
        """Write `result`. Return False if a result exists that it must not replace.

        - A result of the same or a newer update time is not replaced, unless it is GIVEN_UP.
        - A GIVEN_UP result replaces no other result of the sample.
        - A FAILED result replaces no statistics: a failed recomputation does not change the result of the sample.
        - Exceptions: the FAILED result of a sample that was superseded since its statistics were stored replaces them.
          A GIVEN_UP result does so if they are COMPUTED. Otherwise, lists would contain the results of both samples.

        Raises `InvalidWrite` if Firestore does not accept the result. A retry then fails too. Raises `RateLimited` if
        too many results of the submitter wait for Firestore.
        """
        try:
            if result.labels:
                await self._series.register(result.submitter, result.labels)
            now = None if result.archiving is None else await self._firestore.estimated_now()
        except FirestoreError as error:
            raise Unavailable(str(error)) from error
        path = document_paths.result(result.submitter, result.sample_id)
        sample = document_paths.sample(result.submitter, result.sample_id)
        writes = self._creation(path, sample, result, now)
        while not await self._try_write(writes, result.submitter):
            existing = (await self._read([path], *_REPLACED_FIELDS)).get(path)
            if existing is None:  # the result was deleted since the attempt, or the sample was
                if len(writes) > 1 and not await self._read([sample], "state_on_arrival"):
                    return False
                writes = self._creation(path, sample, result, now)
                continue
            fields = encoding.from_document(existing)
            is_of_same_sample = result.submitted_at is None or belongs_to_sample(fields, result.submitted_at)
            if _is_final(fields, result.sample_update_time) or (is_of_same_sample and _outranks(fields, result)):
                return False
            first_computed_at = _first_computed_at(fields) if is_of_same_sample else None
            writes = [self._new(path, replace(result, first_computed_at=first_computed_at))]
            writes[0].current_document.update_time.CopyFrom(existing.update_time)
            if not is_of_same_sample and fields.get("status") == Status.COMPUTED.value:
                writes += await self._copy_with_new_id(path, result)
        return True

    async def _copy_with_new_id(self, path: str, result: Result) -> list[Write]:
        """Return the write that stores the existing result with a new id, or no write if the result was deleted.

        A sample with the same idempotency key has replaced the sample of the existing result. The existing result is
        kept longer than its sample: it stays in lists and summaries until it expires. One Commit stores the copy and
        replaces the existing result. Otherwise, this result could count twice, because the function may move the copy
        into the hourly archive at any time.
        """
        existing = (await self._read([path])).get(path)
        if existing is None:
            return []
        kept_path, fields = copy_with_new_id(result.submitter, result.sample_id, encoding.from_document(existing))
        return [encoding.to_write(self._firestore.name(kept_path), fields)]

    def _creation(self, path: str, sample: str, result: Result, now: datetime | None) -> list[Write]:
        """Return the writes that store a result, on the condition that none exists.

        If the result can be in the hourly archive already, the sample must exist. The Commit does not change it.
        """
        writes = [self._new(path, result)]
        if now is not None and result.expire_at is not None and result.expire_at - now <= MAX_SUSPENSION:
            writes.append(encoding.to_partial_write(self._firestore.name(sample), {}))
            writes[-1].current_document.exists = True
        return writes

    def _new(self, path: str, result: Result) -> Write:
        """Return the write that stores a result, on the condition that none exists."""
        write = encoding.to_write(self._firestore.name(path), result.fields())
        if trace := request_context.traceparent():
            write.update.fields["traceparent"].string_value = trace
        write.current_document.exists = False
        return write

    async def _try_write(self, writes: Sequence[Write], submitter: str) -> bool:
        """Write all documents together, in one attempt. Return False if a precondition fails."""
        try:
            if len(writes) == 1:
                await self._writer.write(writes[0], submitter)
            else:
                await self._firestore.commit(writes)
        except PreconditionFailed:
            return False
        except InvalidWrite:
            raise
        except FirestoreError as error:
            raise Unavailable(str(error)) from error
        return True

    async def _read(self, paths: list[str], *mask: str) -> dict[str, Document]:
        try:
            return await self._firestore.batch_get(paths, mask=mask)
        except FirestoreError as error:
            raise Unavailable(str(error)) from error


def _is_final(fields: Mapping[str, object], update_time: datetime) -> bool:
    """Return whether a result with these fields must not be replaced by a result with this update time."""
    computed_from, problem = fields.get("sample_update_time"), fields.get("problem")
    if not isinstance(computed_from, datetime) or computed_from < update_time:
        return False
    is_given_up = isinstance(problem, Mapping) and problem.get("code") == ProblemCode.GIVEN_UP.value
    return computed_from > update_time or not is_given_up


def _first_computed_at(fields: Mapping[str, object]) -> datetime | None:
    """Return when the first statistics of a sample were stored. `fields` are those of the result to replace."""
    first = fields.get("first_computed_at", fields.get("computed_at") if _has_statistics(fields) else None)
    return first if isinstance(first, datetime) else None


def _has_statistics(fields: Mapping[str, object]) -> bool:
    return fields.get("status") in (Status.COMPUTED.value, Status.SUPERSEDED.value)


def _outranks(fields: Mapping[str, object], result: Result) -> bool:
    """Return whether an existing result of the same sample, with these fields, must not be replaced by `result`."""
    if result.superseded_by is not None and fields.get("status") == Status.COMPUTED.value:
        return False
    if result.problem is not None and result.problem.code is ProblemCode.GIVEN_UP:
        return True
    is_known_correction = result.superseded_by in (None, fields.get("superseded_by"))
    return result.status is Status.FAILED and is_known_correction and _has_statistics(fields)
