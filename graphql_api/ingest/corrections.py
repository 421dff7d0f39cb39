"""Corrections: a new sample replaces an earlier sample."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from graphql_api.budgets.budgets import Budgets
from graphql_api.ingest.backlog import Backlog
from graphql_api.ingest.repeated_samples import RepeatedSamples, replace_if_expired
from graphql_api.ingest.uploads import commit_header
from storage.documents import (
    Arrival,
    BadRequest,
    Conflict,
    Header,
    NotFound,
    Sample,
    SampleIdentity,
    Status,
    Unavailable,
    Upload,
    document_paths,
    has_expired,
)
from storage.documents.stored_fields import SERVER_TIME, read_integer
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.messages import Document, Write, WriteResult
from storage.firestore.retry import backoff
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

_MAX_ATTEMPTS = 8
_MAX_DELETED_CORRECTIONS = 30
"""The number of deleted corrections that are read, one after the other, to find a correction that still exists.

Each read takes 2 ms of CPU time. Without this limit, a request took 1.2 s of it after 600 deletions, even if its
client had disconnected.
"""
_EXPIRY_FIELDS = ("expire_at", "result_expire_at")
_MARK_FIELDS = ("superseded_by", "supersedes", *_EXPIRY_FIELDS, "chunks", "upload_id", "sha256")
_MIN_KEPT = timedelta(days=2)
"""How long a sample and its result are kept after a correction, even if they would expire earlier.

The function needs the sample to write its result again. If the function does not run, or if the event is lost, the
audit gives up after 25 hours. Otherwise, the earlier result would stay in lists or move into the hourly archive.
"""
_EXPIRED_CORRECTION = (
    " and has expired; if its result still exists, delete it with `deleteSamples`; then submit the new sample without "
    "`supersedes`"
)


class _Correction(NamedTuple):
    """A sample that corrects another one."""

    id: str
    exists: bool
    """False if it has expired. Its result can be kept longer."""


class Corrections:
    """Stores the corrections of all submitters."""

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        repeated: RepeatedSamples,
        backlog: Backlog,
        budgets: Budgets,
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._repeated = repeated
        self._backlog = backlog
        self._budgets = budgets

    async def correct(self, sample: Sample, write: Write, earlier_id: str) -> WriteResult | Header:
        """Store a sample with `write`, the write of its header, and mark the earlier sample that it corrects.

        One Commit does both, so a process that stops cannot leave both samples in lists. The mark triggers the
        function, which writes the earlier result again. A REJECTED sample marks nothing.

        Return the `WriteResult` of the header, or the stored header if an earlier request has stored the sample.

        Few corrections of a submitter are stored at the same time. Further corrections wait.

        Raises `NotFound`, `Conflict` or `BadRequest` if the sample cannot replace the earlier sample. Raises
        `RateLimited` if too many corrections wait. Raises `Unavailable`.
        """
        corrections = self._budgets.submitter(sample.header.submitter).corrections
        try:
            async with asyncio.timeout(self._writer.timeout_seconds):
                await corrections.take(1)
        except TimeoutError:
            raise Unavailable("earlier corrections of this submitter take too long; retry later") from None
        try:
            return await self._correct(sample, write, earlier_id)
        finally:
            corrections.give_back(1)

    async def _correct(self, sample: Sample, write: Write, earlier_id: str) -> WriteResult | Header:
        header = sample.header
        for pause in islice(backoff(), _MAX_ATTEMPTS):
            stored, earlier = await self._read_pair(header.submitter, header.id, earlier_id)
            now = await self._firestore.estimated_now()
            is_stored = stored is not None and not encoding.is_expired(stored, now)
            if is_stored and (outcome := await self._corrected_before(header, earlier_id)) is not None:
                return outcome
            await self._check_correctable(header.submitter, earlier_id, earlier, now)
            replace_if_expired(write, stored, now)
            marks = _marks(header, earlier, now)
            await self._keep_chunks(header.submitter, earlier_id, earlier, marks)
            try:
                return await self._backlog.commit(header, commit_header(self._firestore, sample, write, marks))
            except PreconditionFailed:  # one of the samples has changed, or the response of an attempt was lost
                await asyncio.sleep(pause)
        raise Unavailable(
            "other requests changed the earlier sample during every attempt; retry later - at `supersedes`"
        )

    async def _keep_chunks(
        self, submitter: str, earlier_id: str, earlier: Document | None, marks: Sequence[Write]
    ) -> None:
        """Keep the chunks of the earlier sample as long as its header, if `marks` changes the expiry of the header."""
        stored = {} if earlier is None else encoding.from_document(earlier)
        if "chunks" not in stored or not any("expire_at" in mark.update.fields for mark in marks):
            return
        upload_id = str(stored.get("upload_id") or str(stored["sha256"])[:16])
        expire_at = encoding.to_datetime(marks[0].update.fields["expire_at"].timestamp_value)
        writes = []
        for path in Upload(submitter, earlier_id, read_integer(stored, "chunks"), upload_id).chunk_paths():
            write = encoding.to_partial_write(self._firestore.name(path), {"expire_at": expire_at})
            write.current_document.exists = True
            writes.append(write)
        for outcome in await self._writer.write_all(writes, submitter):
            if isinstance(outcome, Exception) and not isinstance(outcome, PreconditionFailed):
                raise outcome

    async def check(self, identity: SampleIdentity, earlier_id: str) -> None:
        """Raise the errors of `correct`, before the chunks of a large sample are written.

        Raise nothing if a sample with this identity is stored. `correct` then decides.
        """
        stored, earlier = await self._read_pair(identity.submitter, identity.id, earlier_id)
        now = await self._firestore.estimated_now()
        if stored is None or encoding.is_expired(stored, now):
            await self._check_correctable(identity.submitter, earlier_id, earlier, now)

    async def _read_pair(
        self, submitter: str, sample_id: str, earlier_id: str
    ) -> tuple[Document | None, Document | None]:
        """Return what is stored of the header of a new sample, and of the header of the sample that it corrects."""
        if sample_id == earlier_id:
            raise BadRequest("a sample cannot correct itself; send a new idempotency key - at `supersedes`")
        ids = [sample_id, earlier_id] if document_paths.is_uuid(earlier_id) else [sample_id]
        paths = [document_paths.sample(submitter, each) for each in ids]
        documents = await self._firestore.batch_get(paths, mask=_MARK_FIELDS)
        return documents.get(paths[0]), documents.get(paths[-1]) if len(ids) > 1 else None

    async def _corrected_before(self, header: Header, earlier_id: str) -> Header | None:
        """Return the stored header of a repeated correction. Raises `Conflict` if it does not correct this sample.

        The earlier sample can have been corrected again, or deleted, since the first request.
        """
        (outcome,) = await self._repeated.outcomes([header])
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None and outcome.supersedes != earlier_id:
            raise Conflict(
                f"this idempotency key was used for the sample {header.id}, which does not correct the earlier sample; "
                "use a new key - at `supersedes`"
            )
        return outcome

    async def _check_correctable(
        self, submitter: str, earlier_id: str, earlier: Document | None, now: datetime
    ) -> None:
        """Raise an error if the sample with the header `earlier` cannot be corrected.

        Raises `NotFound` if it is not stored, and `Conflict` if another sample has corrected it. A deleted correction
        does not count, unless it was corrected itself. An expired correction counts, because its result can be kept
        longer, in lists or in the hourly archive.
        """
        if earlier is None or encoding.is_expired(earlier, now):
            raise NotFound(
                "the earlier sample does not exist or has expired; if only its result exists, delete it with "
                "`deleteSamples` and submit the new sample without `supersedes` - at `supersedes`"
            )
        superseded_by = encoding.from_document(earlier).get("superseded_by")
        correction = await self._remaining_correction(submitter, earlier_id, superseded_by, now)
        if correction is not None:
            raise Conflict(
                f"the sample {correction.id} has already corrected the earlier sample"
                + ("; correct that sample instead" if correction.exists else _EXPIRED_CORRECTION)
                + " - at `supersedes`"
            )

    async def _remaining_correction(
        self, submitter: str, corrected: object, correction: object, now: datetime
    ) -> _Correction | None:
        """Return `correction`, or the sample that corrected it before it was deleted.

        Return None if no correction remains, or if it was submitted again as a sample that corrects nothing. Raises
        `Conflict` if too many of them were deleted.
        """
        seen: set[object] = set()
        while isinstance(correction, str) and correction not in seen:
            if len(seen) == _MAX_DELETED_CORRECTIONS:
                raise Conflict(
                    f"more than {_MAX_DELETED_CORRECTIONS} corrections of the earlier sample were deleted; delete the "
                    "earlier sample too, and submit the new sample without `supersedes` - at `supersedes`"
                )
            seen.add(correction)
            paths = [document_paths.sample(submitter, correction), document_paths.result(submitter, correction)]
            documents = await self._firestore.batch_get(paths, mask=("status", *_MARK_FIELDS))
            sample, result = (encoding.from_document(documents[path]) if path in documents else None for path in paths)
            if sample is not None and sample.get("supersedes") != corrected:
                return None
            if sample is not None or result is None or result.get("status") != Status.DELETED.value:
                exists = sample is not None and not has_expired(sample.get("expire_at"), now)
                return _Correction(correction, exists)
            corrected, correction = correction, result.get("superseded_by")
        return None


def _marks(header: Header, earlier: Document | None, now: datetime) -> list[Write]:
    """Return the write that marks the sample that `header` corrects, or no write if `header` is REJECTED."""
    if earlier is None or header.arrival is Arrival.REJECTED:
        return []
    stored, kept_until = encoding.from_document(earlier), now + _MIN_KEPT
    expiries = ((name, stored.get(name)) for name in _EXPIRY_FIELDS)
    early = [name for name, time in expiries if isinstance(time, datetime) and time < kept_until]
    fields = {"superseded_by": header.id, "superseded_at": SERVER_TIME, **dict.fromkeys(early, kept_until)}
    mark = encoding.to_partial_write(earlier.name, fields)
    mark.current_document.update_time.CopyFrom(earlier.update_time)
    return [mark]
