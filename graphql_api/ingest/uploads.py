"""Uploads: a document in `uploads` exists while no header refers to the chunks of an upload.

The Commit that stores the header deletes this document, and fails if it does not exist any more. A removal of the
chunks first deletes this document too. So either the header is stored or the chunks are removed, even if the process of
the upload or Firestore was suspended in the meantime.

`sweep` finds the documents of uploads and deletions that were interrupted, and removes their chunks.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta

from storage.documents import Header, RetryLater, Sample, Upload, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.messages import StructuredQuery, Write, WriteResult
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

MIN_AGE = timedelta(hours=1)
"""The minimum age of an upload that a sweep removes. An upload takes seconds."""

_SWEEP_SECONDS = 600.0
_PAGE_SIZE = 100

ReadHeaders = Callable[[str, Collection[str]], Awaitable[Mapping[str, Header]]]
"""Returns the stored headers of a submitter by sample id. Ids without a header are omitted."""

logger = logging.getLogger("graphql_api")


class Uploads:
    """The documents of uploads, and the removal of chunks without a header."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, read_headers: ReadHeaders) -> None:
        self._firestore = firestore
        self._writer = writer
        self._read_headers = read_headers

    async def begin(self, upload: Upload) -> None:
        """Record an upload. Its chunks can be written after this."""
        await self._writer.write(
            encoding.to_write(self._firestore.name(upload.path), upload.fields()), upload.submitter
        )

    async def remove_chunks(self, upload: Upload) -> None:
        """End an upload, and remove its chunks. Do nothing if a stored header refers to the chunks."""
        if await self._is_stored(upload):
            return
        record = encoding.to_write(self._firestore.name(upload.deletion_path), upload.fields())
        with contextlib.suppress(PreconditionFailed):  # the upload has ended, so its header is stored now or never
            await self._firestore.commit([_end_of_upload(self._firestore, upload), record])
        if await self._is_stored(upload):
            return
        for name in (*map(self._firestore.name, upload.chunk_paths()), record.update.name):
            await self._writer.write(encoding.to_delete(name), upload.submitter)

    async def _is_stored(self, upload: Upload) -> bool:
        header = (await self._read_headers(upload.submitter, [upload.sample_id])).get(upload.sample_id)
        return header is not None and header.upload_id == upload.id

    async def sweep_regularly(self) -> None:
        """Sweep every ten minutes, until cancelled."""
        while True:
            try:
                await self.sweep()
            except (RetryLater, FirestoreError) as error:
                logger.warning("could not remove the chunks of uploads that were interrupted: %s", error)
            except Exception:  # one failure must not end the sweeps
                logger.exception("unexpected error while removing the chunks of uploads that were interrupted")
            await asyncio.sleep(_SWEEP_SECONDS)

    async def sweep(self, min_age: timedelta = MIN_AGE) -> int:
        """Remove the chunks of uploads older than `min_age` to which no header refers. Return the number of uploads."""
        now = await self._firestore.now()
        removed = 0
        stored = StructuredQuery(from_=[{"collection_id": document_paths.UPLOADS}])
        async for page in self._firestore.pages("", stored, _PAGE_SIZE):
            for document in page:
                if now - encoding.to_datetime(document.update_time) >= min_age:
                    document_id = document_paths.id_of(document.name)
                    upload = Upload.from_fields(document_id, encoding.from_document(document))
                    await self.remove_chunks(upload)
                    await self._writer.write(encoding.to_delete(document.name), upload.submitter)
                    removed += 1
        if removed:
            logger.info("removed the chunks of %d uploads that were interrupted", removed)
        return removed


async def commit_header(
    firestore: Firestore, sample: Sample, write: Write, others: Sequence[Write] = ()
) -> WriteResult:
    """Write a header and other documents together. If the sample is large, its upload ends. Return the result.

    Raises `PreconditionFailed`, `FirestoreError` or `Unavailable`.
    """
    header = sample.header
    ends = [_end_of_upload(firestore, header.upload)] if header.chunks else []
    return (await firestore.commit([write, *ends, *others]))[0]


def _end_of_upload(firestore: Firestore, upload: Upload) -> Write:
    """Return the write that ends an upload. It fails if the upload has ended already."""
    write = encoding.to_delete(firestore.name(upload.path))
    write.current_document.exists = True
    return write
