"""Uploads: a document in `uploads` exists while no header refers to the chunks of an upload.

`sweep` finds the documents of uploads and deletions that were interrupted, and removes their chunks.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta

from storage.documents import Header, RetryLater, Upload, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.messages import StructuredQuery
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

MIN_AGE = timedelta(hours=1)
"""The minimum age of an upload that a sweep removes. An upload takes seconds.

If the machine's clock is set forward, a running upload seems to be older. An upload is therefore removed by the second
sweep of a process that finds it.
"""

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
        self._found: dict[str, datetime] = {}
        """The uploads that the last sweep has found: the update times of their documents, by name."""

    async def begin(self, upload: Upload) -> None:
        """Record an upload. Its chunks can be written after this."""
        await self._writer.write(
            encoding.to_write(self._firestore.name(upload.path), upload.fields()), upload.submitter
        )

    async def end(self, upload: Upload) -> None:
        """Remove the record of an upload after its header is written or its chunks are removed."""
        await self._writer.write(encoding.to_delete(self._firestore.name(upload.path)), upload.submitter)

    async def remove_chunks(self, upload: Upload) -> None:
        """Remove the chunks and the record of an upload. If a stored header refers to the chunks, keep the chunks."""
        await self._remove_unused_chunks(upload)
        await self.end(upload)

    async def _remove_unused_chunks(self, upload: Upload) -> None:
        header = (await self._read_headers(upload.submitter, [upload.sample_id])).get(upload.sample_id)
        if header is None or header.upload_id != upload.id:
            for path in upload.chunk_paths():
                await self._writer.write(encoding.to_delete(self._firestore.name(path)), upload.submitter)

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
        """Remove the chunks of uploads older than `min_age` to which no header refers. Return the number of uploads.

        Uploads that the last sweep has not found are kept.
        """
        now = await self._firestore.now()
        removed = 0
        found_before, self._found = self._found, {}
        stored = StructuredQuery(from_=[{"collection_id": document_paths.UPLOADS}])
        async for page in self._firestore.pages("", stored, _PAGE_SIZE):
            for document in page:
                update_time = self._found[document.name] = encoding.to_datetime(document.update_time)
                if found_before.get(document.name) == update_time and now - update_time >= min_age:
                    document_id = document_paths.id_of(document.name)
                    upload = Upload.from_fields(document_id, encoding.from_document(document))
                    await self._remove_unused_chunks(upload)
                    await self._writer.write(encoding.to_delete(document.name), upload.submitter)
                    removed += 1
        if removed:
            logger.info("removed the chunks of %d uploads that were interrupted", removed)
        return removed
