"""The documents of a deletion: its record, and the samples, chunks and results that it removes.

A tombstone is written first, then the chunks are deleted, and the header last. If the process stops in between, the
header still exists, so a repeated deletion finds the sample again. The header is deleted only if it was not changed
after it was read. Otherwise, a recomputation could write a result after its tombstone.

A tombstone is written only if the result was not changed after it was read, because the sample can be deleted and
submitted again in the meantime. All documents are read at the time of the deletion. A sample that is submitted later is
therefore newer than the tombstone, and is not deleted. A result can be kept longer than its sample. Then only its
tombstone is written.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from graphql_api.results.deletion.deletion import Deletion
from graphql_api.results.jobs.job_records import JobRecords
from graphql_api.results.sample_listing import HEADER_FIELDS, decode_header
from storage.documents import Header, Status, Tombstone, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.group_commit_writer import GroupCommitWriter

_MAX_ATTEMPTS = 5
_TOMBSTONE_FIELDS = ("status", "shard", "sample_update_time", "sha256", "reason", "submitted_at")
"""The fields of a tombstone, and the time at which the sample was submitted."""


class DeletionStore(JobRecords[Deletion]):
    """Reads and writes the documents of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        super().__init__(firestore, writer, document_paths.deletion, Deletion.from_fields)

    async def tombstone(self, submitter: str, sample_id: str) -> Tombstone | None:
        """Return the tombstone of a sample, or None if the sample was submitted again or never existed."""
        if not document_paths.is_sample_id(sample_id):
            return None
        path, sample = document_paths.result(submitter, sample_id), document_paths.sample(submitter, sample_id)
        documents = await self._firestore.batch_get([path, sample], mask=_TOMBSTONE_FIELDS)
        if path not in documents:
            return None
        tombstone = Tombstone.from_fields(submitter, sample_id, encoding.from_document(documents[path]))
        if tombstone is None or sample not in documents:
            return tombstone
        submitted_at = encoding.to_datetime(documents[sample].fields["submitted_at"].timestamp_value)
        return tombstone if tombstone.deleted_at >= submitted_at else None

    async def delete(
        self, submitter: str, ids: Collection[str], reason: str, entry: Any = None
    ) -> tuple[int, Collection[str]]:
        """Delete the samples `ids`, or their results if only these exist.

        If one exists, `entry` is stored before the first change: an entry of the audit log.

        Return the number of samples that were deleted, and the ids of samples that changed before each attempt.
        """
        remaining, deleted = set(filter(document_paths.is_sample_id, ids)), 0
        started_at: datetime | None = None
        for _ in range(_MAX_ATTEMPTS):
            if not remaining:
                break
            now = await self._firestore.now()
            started_at = started_at or now
            headers = await self._read(map(partial(document_paths.sample, submitter), remaining), HEADER_FIELDS, now)
            results = await self._read(
                map(partial(document_paths.result, submitter), remaining), ("status", "shard"), now
            )
            expired = {
                sample_id: result
                for sample_id, result in results.items()
                if sample_id not in headers and not _is_tombstone(result)
            }
            as_read = [
                header for header in headers.values() if _submitted_at(header) <= started_at
            ]  # another deletion was faster if a sample was submitted again in the meantime
            if entry is not None and (as_read or expired):
                await self._writer.write(entry, submitter)
                entry = None
            remaining = await self._delete_as_read(submitter, as_read, results, now, reason)
            remaining |= await self._replace_results(submitter, expired, now, reason)
            deleted += len(as_read) + len(expired) - len(remaining)
        return deleted, remaining

    async def _read(self, paths: Iterable[str], mask: Collection[str], read_time: datetime) -> dict[str, Any]:
        """Return the documents that exist by their ids."""
        documents = await self._firestore.batch_get(paths, mask=mask, read_time=read_time)
        return {path.rpartition("/")[2]: document for path, document in documents.items()}

    async def _replace_results(
        self, submitter: str, results: Mapping[str, Any], deleted_at: datetime, reason: str
    ) -> set[str]:
        """Replace results whose samples have expired. Return the ids of results that changed after they were read."""
        tombstones = [
            Tombstone(submitter, sample_id, "", result.fields["shard"].integer_value, deleted_at, reason)
            for sample_id, result in results.items()
        ]
        return await self._write_tombstones(tombstones, results)

    async def _delete_as_read(
        self, submitter: str, documents: Collection[Any], results: Mapping[str, Any], deleted_at: datetime, reason: str
    ) -> set[str]:
        """Delete samples whose documents have not changed since they were read. Return the ids of the others."""
        headers = {document.name: decode_header(submitter, document) for document in documents}
        tombstones = [
            Tombstone(submitter, header.id, header.sha256, header.shard, deleted_at, reason)
            for header in headers.values()
        ]
        changed = await self._write_tombstones(tombstones, results)
        unchanged = [document for document in documents if headers[document.name].id not in changed]
        chunks = [write for document in unchanged for write in self._chunk_deletions(headers[document.name])]
        await self._write(submitter, chunks)
        deletions = []
        for document in unchanged:
            write = encoding.to_delete(document.name)
            write.current_document.update_time.CopyFrom(document.update_time)
            deletions.append(write)
        outcomes = await self._write(submitter, deletions)
        return changed | {
            headers[document.name].id
            for document, outcome in zip(unchanged, outcomes, strict=True)
            if isinstance(outcome, PreconditionFailed)
        }

    async def _write_tombstones(self, tombstones: Sequence[Tombstone], results: Mapping[str, Any]) -> set[str]:
        """Write tombstones in the place of results. Return the ids of results that changed after they were read."""
        if not tombstones:
            return set()
        writes = []
        for tombstone in tombstones:
            name = self._firestore.name(document_paths.result(tombstone.submitter, tombstone.sample_id))
            write = encoding.to_write(name, tombstone.fields())
            if tombstone.sample_id in results:
                write.current_document.update_time.CopyFrom(results[tombstone.sample_id].update_time)
            else:
                write.current_document.exists = False
            writes.append(write)
        outcomes = await self._write(tombstones[0].submitter, writes)
        return {
            tombstone.sample_id
            for tombstone, outcome in zip(tombstones, outcomes, strict=True)
            if isinstance(outcome, PreconditionFailed)
        }

    def _chunk_deletions(self, header: Header) -> list[Any]:
        return [encoding.to_delete(self._firestore.name(path)) for path in header.chunk_paths()]

    async def _write(self, submitter: str, writes: list[Any]) -> list[Any]:
        """Write in turn with other submitters. Return the outcomes. Raises every error except a failed precondition."""
        outcomes = await self._writer.write_all(writes, submitter) if writes else []
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, PreconditionFailed):
                raise outcome
        return outcomes


def _submitted_at(header: Any) -> datetime:
    """Return the time of submission. The create time is earlier if the sample has replaced an expired sample."""
    return encoding.to_datetime(header.fields["submitted_at"].timestamp_value)


def _is_tombstone(result: Any) -> bool:
    return bool(result.fields["status"].string_value == Status.DELETED)
