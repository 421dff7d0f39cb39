"""The documents of a deletion: its record, and the samples, chunks and results that it removes.

One Commit replaces the result of a sample with a tombstone and deletes its header, or does neither. It succeeds only if
both documents have not changed since they were read. Otherwise, a recomputation could write a result after the
tombstone, or a sample that was submitted again could be deleted. If the sample has chunks, the Commit stores a record
of them. They are deleted afterwards. If this fails, or if the process stops in the meantime, the API finds the record
(`ingest/uploads.py`).

If the response to a Commit is lost, the Commit is sent again, and its conditions fail. The tombstones of this attempt
then show that it was applied.

A result can be kept longer than its sample. Then only its tombstone is written. If a later sample has the id of the
result, the tombstone is earlier than this sample, so that it does not belong to this sample.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from graphql_api.results.deletion.deletion import Deletion
from graphql_api.results.jobs.job_records import JobRecords
from graphql_api.results.sample_listing import HEADER_FIELDS, decode_header, outlives_sample
from storage.documents import RetryLater, Status, Tombstone, Upload, copy_with_new_id, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.messages import Document, Write
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

logger = logging.getLogger("graphql_api")

_MAX_ATTEMPTS = 5
_COMMIT_SIZE = 25
"""The number of samples that one Commit removes. Writes of other submitters wait for the Commit."""
_TOMBSTONE_FIELDS = (
    "status",
    "shard",
    "sample_update_time",
    "sha256",
    "reason",
    "superseded_by",
    "attempt",
    "submitted_at",
)
"""The fields of a tombstone, and the time at which the sample was submitted."""
_RESULT_FIELDS = ("status", "shard", "superseded_by", "submitted_at", "sample_update_time")
_RESOLUTION = timedelta(microseconds=1)

Report = Callable[[], Awaitable[None]]
"""Reports that a deletion is in progress."""


@dataclass(frozen=True, slots=True)
class _Removal:
    """The writes that remove one sample, and the upload of its chunks, which are deleted afterwards."""

    tombstone: Tombstone
    writes: Sequence[Write]
    upload: Upload | None = None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt to delete samples that were submitted until `submitted_until`, or no samples if this is None."""

    submitter: str
    now: datetime
    reason: str
    id: str
    submitted_until: datetime | None
    deletes_kept_results: bool
    """Whether results are deleted that are kept longer than their samples."""

    def removes(self, header: Document) -> bool:
        """Return whether the attempt deletes the sample with this header."""
        return self.submitted_until is not None and _submitted_at(header) <= self.submitted_until

    def tombstone(self, sample_id: str, sha256: str, shard: int, superseded_by: str | None) -> Tombstone:
        """Return the tombstone of a sample."""
        return Tombstone(self.submitter, sample_id, sha256, shard, self.now, self.reason, superseded_by, self.id)

    def tombstone_of_kept(self, sample_id: str, result: Document, header: Document | None) -> Tombstone:
        """Return the tombstone of a kept result. `header` is the header of a later sample with the same id."""
        shard, superseded_by = result.fields["shard"].integer_value, result.fields["superseded_by"].string_value
        tombstone = self.tombstone(sample_id, "", shard, superseded_by or None)
        return tombstone if header is None else replace(tombstone, deleted_at=_submitted_at(header) - _RESOLUTION)


class DeletionStore(JobRecords[Deletion]):
    """Reads and writes the documents of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        super().__init__(firestore, writer, document_paths.deletion, Deletion.from_fields)

    async def tombstone(self, submitter: str, sample_id: str) -> Tombstone | None:
        """Return the tombstone of a sample, or None if the sample was submitted again or never existed."""
        if not document_paths.is_uuid(sample_id):
            return None
        path, sample = document_paths.result(submitter, sample_id), document_paths.sample(submitter, sample_id)
        documents = await self._firestore.batch_get([path, sample], mask=_TOMBSTONE_FIELDS)
        if path not in documents:
            return None
        tombstone = Tombstone.from_fields(submitter, sample_id, encoding.from_document(documents[path]))
        if tombstone is None or sample not in documents:
            return tombstone
        submitted_at = encoding.field_time(documents[sample], "submitted_at")
        return tombstone if tombstone.deleted_at >= submitted_at else None

    async def delete(
        self,
        submitter: str,
        ids: Collection[str],
        reason: str,
        entry: Write | None = None,
        *,
        submitted_until: datetime | None = None,
        deletes_samples: bool = True,
        deletes_kept_results: bool = True,
        report: Report | None = None,
    ) -> tuple[int, Collection[str]]:
        """Delete the samples with these ids, and the results with these ids that are kept longer than their samples.

        Without `deletes_samples`, delete only such results. Without `deletes_kept_results`, delete only samples. A kept
        result with the id of a deleted sample then gets a new id.

        A sample that was submitted after `submitted_until` is kept. By default, this is the time of the first attempt.
        Each Commit that deletes samples also stores `entry`, an entry of the audit log. `report` is awaited after each
        large sample, whose chunks can take seconds, and may raise.

        Return the number of deleted samples, and the ids of samples that were not deleted. These changed during each
        attempt.
        """
        remaining, deleted = set(filter(document_paths.is_uuid, ids)), 0
        entries = [] if entry is None else [entry]
        for _ in range(_MAX_ATTEMPTS):
            if not remaining:
                break
            now = await self._firestore.now()
            submitted_until = submitted_until or now
            samples_until = submitted_until if deletes_samples else None
            attempt = _Attempt(submitter, now, reason, str(uuid4()), samples_until, deletes_kept_results)
            removals = await self._removals(attempt, remaining)
            remaining = set()
            for start in range(0, len(removals), _COMMIT_SIZE):
                remaining |= await self._commit(removals[start : start + _COMMIT_SIZE], entries, report)
            deleted += len(removals) - len(remaining)
        return deleted, remaining

    async def _removals(self, attempt: _Attempt, ids: Collection[str]) -> list[_Removal]:
        """Return the removals of the samples and of the kept results that exist."""
        headers = await self._read(map(partial(document_paths.sample, attempt.submitter), ids), HEADER_FIELDS, attempt)
        paths = map(partial(document_paths.result, attempt.submitter), ids)
        results = await self._read(paths, _RESULT_FIELDS, attempt)
        removals = []
        for sample_id in headers.keys() | results.keys():
            header, result = headers.get(sample_id), results.get(sample_id)
            kept = (
                result if result is not None and not _is_tombstone(result) and outlives_sample(result, header) else None
            )
            if header is not None and attempt.removes(header):
                removals.append(await self._removal(attempt, header, result, kept))
            elif kept is not None and attempt.deletes_kept_results:
                tombstone = attempt.tombstone_of_kept(sample_id, kept, header)
                removals.append(_Removal(tombstone, [self._tombstone_write(tombstone, kept)]))
        return removals

    async def _read(self, paths: Iterable[str], mask: Collection[str], attempt: _Attempt) -> dict[str, Document]:
        """Return the documents that exist by their ids."""
        documents = await self._firestore.batch_get(paths, mask=mask, read_time=attempt.now)
        return {document_paths.id_of(path): document for path, document in documents.items()}

    async def _removal(
        self, attempt: _Attempt, document: Document, result: Document | None, kept: Document | None
    ) -> _Removal:
        """Return the removal of a sample, on the condition that its header and its result have not changed.

        `kept` is the result if it belongs to an earlier sample.
        """
        header = decode_header(attempt.submitter, document)
        tombstone = attempt.tombstone(header.id, header.sha256, header.shard, header.superseded_by)
        deletion = encoding.to_delete(document.name)
        deletion.current_document.update_time.CopyFrom(document.update_time)
        writes = [self._tombstone_write(tombstone, result), deletion]
        if (
            kept is not None
            and not attempt.deletes_kept_results
            and kept.fields["status"].string_value == Status.COMPUTED
        ):
            path = document_paths.result(attempt.submitter, header.id)
            whole = await self._firestore.batch_get([path], read_time=attempt.now)
            path, fields = copy_with_new_id(attempt.submitter, header.id, encoding.from_document(whole[path]))
            writes.append(encoding.to_write(self._firestore.name(path), fields))
        if not header.chunks:
            return _Removal(tombstone, writes)
        record = encoding.to_write(self._firestore.name(header.upload.deletion_path), header.upload.fields())
        return _Removal(tombstone, [*writes, record], header.upload)

    def _tombstone_write(self, tombstone: Tombstone, result: Document | None) -> Write:
        name = self._firestore.name(document_paths.result(tombstone.submitter, tombstone.sample_id))
        write = encoding.to_write(name, tombstone.fields())
        if result is None:
            write.current_document.exists = False
        else:
            write.current_document.update_time.CopyFrom(result.update_time)
        return write

    async def _commit(self, removals: Sequence[_Removal], entries: Sequence[Write], report: Report | None) -> set[str]:
        """Remove samples and store `entries` in one Commit, or in several if some of the samples have changed.

        Return the ids of the samples that have changed.
        """
        try:
            await self._firestore.commit([*entries, *(write for removal in removals for write in removal.writes)])
        except PreconditionFailed:
            if not await self._is_stored(removals[0].tombstone):
                if len(removals) == 1:
                    return {removals[0].tombstone.sample_id}
                half = len(removals) // 2
                changed = await self._commit(removals[:half], entries, report)
                return changed | await self._commit(removals[half:], entries, report)
        for upload in filter(None, (removal.upload for removal in removals)):
            try:
                await self._delete(upload.submitter, upload.chunk_paths())
                await self._delete(upload.submitter, [upload.deletion_path])
                if report is not None:
                    await report()
            except (RetryLater, FirestoreError) as error:  # the samples are deleted, so the deletion does not fail
                logger.warning("could not remove chunks of %s/%s: %s", upload.submitter, upload.sample_id, error)
        return set()

    async def _is_stored(self, tombstone: Tombstone) -> bool:
        path = document_paths.result(tombstone.submitter, tombstone.sample_id)
        document = (await self._firestore.batch_get([path], mask=_TOMBSTONE_FIELDS)).get(path)
        if document is None:
            return False
        fields = encoding.from_document(document)
        return Tombstone.from_fields(tombstone.submitter, tombstone.sample_id, fields) == tombstone

    async def _delete(self, submitter: str, paths: Iterable[str]) -> None:
        deletions = [encoding.to_delete(self._firestore.name(path)) for path in paths]
        for outcome in await self._writer.write_all(deletions, submitter):
            if isinstance(outcome, Exception):
                raise outcome


def _submitted_at(header: Document) -> datetime:
    """Return the time of submission. The create time is earlier if the sample has replaced an expired sample."""
    return encoding.field_time(header, "submitted_at")


def _is_tombstone(result: Document) -> bool:
    return bool(result.fields["status"].string_value == Status.DELETED)
