"""Earlier samples to which a new sample refers: by the same idempotency key, or because it corrects them."""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any

from graphql_api.ingest.fair_executor import FairExecutor
from graphql_api.ingest.uploads import ReadHeaders
from storage.documents import (
    Arrival,
    BadRequest,
    Conflict,
    Header,
    NotFound,
    Sample,
    Status,
    Unavailable,
    document_paths,
    is_of_sample,
)
from storage.documents.server_time import SERVER_TIME
from storage.documents.validation import payload
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.group_commit_writer import GroupCommitWriter

Outcome = Header | Exception
"""The header of a stored sample, or the reason why it was not stored."""

_MAX_ATTEMPTS = 5


class EarlierSamples:
    """The stored samples of all submitters."""

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        read_headers: ReadHeaders,
        validators: FairExecutor,
        zone: tzinfo | None,
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._read_headers = read_headers
        self._validators = validators
        self._zone = zone

    async def correct(
        self,
        submitter: str,
        earlier_id: str,
        raw: bytes,
        idempotency_key: str | None,
        store: Callable[[], Awaitable[Header]],
    ) -> Header:
        """Store the sample `raw` with `store`, and mark the sample that it corrects.

        The mark triggers the function, which writes the earlier result again. If the process stops before the mark is
        written, the client repeats the request with the same idempotency key.

        Raises `NotFound`, `Conflict` or `BadRequest` if the sample cannot replace the earlier sample.
        """
        earlier = await self._find(submitter, earlier_id, raw, idempotency_key)
        stored = await store()
        if earlier is not None and stored.arrival is Arrival.ACCEPTED:
            await self._supersede(earlier, stored)
        return stored

    async def _find(self, submitter: str, earlier_id: str, raw: bytes, idempotency_key: str | None) -> Header | None:
        """Return the sample that `raw` supersedes.

        A request is repeated if a sample with the idempotency key, or with the member `idempotency_key` of `raw`, is
        stored. The earlier sample can have been deleted since the first request. This method then returns None.

        Raises `NotFound` if the earlier sample is not stored, and `Conflict` if another sample supersedes it.
        """
        if idempotency_key is None:
            report = await self._validators.run(submitter, partial(payload.validate_quickly, raw, self._zone))
            idempotency_key = None if report is None else report.idempotency_key
        keyed_id = None if idempotency_key is None else document_paths.keyed_sample_id(submitter, idempotency_key)
        headers = await self._read_existing(submitter, {earlier_id, keyed_id or earlier_id})
        earlier = headers.get(earlier_id)
        if earlier is None and keyed_id not in headers:
            raise NotFound(
                "the sample to supersede does not exist or has expired; if only its result exists, delete it with "
                "`deleteSamples` and submit this sample without `supersedes` - at `supersedes`"
            )
        if earlier is not None and earlier.superseded_by is not None and earlier.superseded_by != keyed_id:
            other = earlier.superseded_by
            if other in await self._read_existing(submitter, {other}):  # lists would contain both corrections
                if keyed_id in headers:
                    await self._supersede_correction(earlier, headers[keyed_id], other)
                raise _superseded(other)
        return earlier

    async def _supersede(self, earlier: Header, sample: Header) -> None:
        """Mark a sample as superseded.

        Raises `BadRequest` or `Conflict` if `sample` was stored before and cannot replace the earlier sample. Raises
        `Conflict` if another sample has superseded the earlier sample in the meantime.
        """
        if earlier.superseded_by == sample.id:
            return
        if sample.id == earlier.id:
            raise BadRequest("a sample cannot supersede itself; send a new idempotency key - at `supersedes`")
        if sample.superseded_by is not None:  # both samples would be superseded, and lists would contain neither
            raise Conflict(
                f"this idempotency key was used for the sample {sample.id}, which is superseded itself; use a new key "
                "- at `supersedes`"
            )
        path = document_paths.sample(earlier.submitter, earlier.id)
        write = self._mark(earlier, sample.id)
        for _ in range(_MAX_ATTEMPTS):
            document = (await self._firestore.batch_get([path], mask=("superseded_by",))).get(path)
            if document is None:  # deleted in the meantime
                return
            current = document.fields["superseded_by"].string_value if "superseded_by" in document.fields else None
            if current == sample.id:
                return
            if current is not None and current != earlier.superseded_by:
                await self._supersede_correction(earlier, sample, current)
                raise _superseded(current)
            write.current_document.update_time.CopyFrom(document.update_time)
            with contextlib.suppress(PreconditionFailed):
                await self._writer.write(write, earlier.submitter)
                return
        raise Unavailable("the sample to supersede changes all the time; retry later - at `supersedes`")

    async def _supersede_correction(self, earlier: Header, sample: Header, other: str) -> None:
        """Mark a correction as superseded by another correction of the same sample. Lists would contain both.

        This request, or an interrupted earlier attempt, has stored the correction. If `sample` was stored for another
        purpose, it does not change.
        """
        if sample.supersedes == earlier.id and sample.superseded_by is None and sample.arrival is Arrival.ACCEPTED:
            with contextlib.suppress(PreconditionFailed):  # deleted in the meantime
                await self._writer.write(self._mark(sample, other), sample.submitter)

    def _mark(self, header: Header, superseded_by: str) -> Any:
        """Return the write that marks a sample as superseded."""
        name = self._firestore.name(document_paths.sample(header.submitter, header.id))
        write = encoding.to_write(name, {"superseded_by": superseded_by, "superseded_at": SERVER_TIME})
        write.update_mask.field_paths.append("superseded_by")
        write.current_document.exists = True
        return write

    async def resolve(self, samples: Sequence[Sample], writes: Sequence[Any], results: Sequence[Any]) -> list[Any]:
        """Replace each `PreconditionFailed` in the results of the writes of headers.

        If a sample with this id is stored, return its header, or `Conflict` if its content differs. If it is being
        deleted, return `Unavailable`, because it must be stored again after the deletion. If it has expired, replace
        it, and return the result of this write. One read gets all stored headers.
        """
        resolved = list(results)
        existing = [index for index, result in enumerate(results) if isinstance(result, PreconditionFailed)]
        try:
            headers = [samples[index].header for index in existing]
            stored = await self._read_existing(headers[0].submitter, {header.id for header in headers})
            deleted = await self._deleted(stored)
            for index, header in zip(existing, headers, strict=True):
                if header.id in deleted:
                    resolved[index] = Unavailable(
                        "an earlier sample with this idempotency key is being deleted; send this sample again later"
                    )
                elif header.id in stored:
                    resolved[index] = _resolve(header, stored[header.id])
            expired = [index for index in existing if samples[index].header.id not in stored]
            if expired:
                replaced = await self._replace_expired([writes[index] for index in expired], headers[0].submitter)
                for index, result in zip(expired, replaced, strict=True):
                    resolved[index] = result
        except Exception as error:  # noqa: BLE001 - the error is the outcome of the samples that exist
            return [error if isinstance(result, PreconditionFailed) else result for result in results]
        return resolved

    async def _read_existing(self, submitter: str, ids: Collection[str]) -> dict[str, Header]:
        """Return the headers that are stored and have not expired. Firestore deletes expired headers later."""
        headers = await self._read_headers(submitter, ids)
        return {sample_id: header for sample_id, header in headers.items() if not _has_expired(header.expire_at)}

    async def _deleted(self, headers: Mapping[str, Header]) -> set[str]:
        """Return the ids of samples that have a tombstone. Their headers are not deleted yet."""
        paths = {document_paths.result(header.submitter, sample_id): header for sample_id, header in headers.items()}
        results = await self._firestore.batch_get(paths, mask=("status", "sample_update_time"))
        found = set()
        for path, document in results.items():
            fields, header = encoding.from_document(document), paths[path]
            is_tombstone = fields.get("status") == Status.DELETED.value
            if is_tombstone and header.submitted_at is not None and is_of_sample(fields, header.submitted_at):
                found.add(header.id)
        return found

    async def _replace_expired(self, writes: Sequence[Any], submitter: str) -> list[Any]:
        """Write headers in the place of expired headers, which Firestore may have deleted since.

        A header that another request has stored in the meantime is not replaced.
        """
        paths = [self._firestore.path(write.update.name) for write in writes]
        documents = await self._firestore.batch_get(paths, mask=("expire_at",))
        for path, write in zip(paths, writes, strict=True):
            if path in documents and _has_expired(encoding.from_document(documents[path]).get("expire_at")):
                write.current_document.update_time.CopyFrom(documents[path].update_time)
        results = await self._writer.write_all(writes, submitter)
        changed = Unavailable("a sample with this idempotency key was stored at the same time; send this sample again")
        return [changed if isinstance(result, PreconditionFailed) else result for result in results]


def _has_expired(expire_at: object) -> bool:
    return isinstance(expire_at, datetime) and expire_at <= datetime.now(UTC)


def _superseded(other: str) -> Conflict:
    return Conflict(f"the sample is already superseded by the sample {other}; supersede that sample - at `supersedes`")


def _resolve(submitted: Header, stored: Header) -> Outcome:
    if stored.sha256 != submitted.sha256:
        return Conflict("this idempotency key was used for another sample; use a new key for a new sample")
    return stored
