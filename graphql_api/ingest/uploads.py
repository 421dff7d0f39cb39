"""Uploads: a document `uploads/{id}` exists while the chunks of a large sample are written.

If the process is killed before it has written the header, the chunks remain, and no client can read them. The document
says where they are. `sweep` removes the chunks of old uploads to which no header refers.

Each upload has chunks of its own. If a sample is uploaded twice with the same idempotency key, its header refers to the
chunks of one upload, and the chunks of the other upload are removed. The deletion of an earlier sample with the same
key therefore never removes chunks of a new sample.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from storage.documents import Header, RetryLater, document_paths
from storage.documents.server_time import SERVER_TIME
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.firestore.messages import StructuredQuery

MIN_AGE = timedelta(hours=1)
"""The minimum age of an upload that a sweep removes. An upload takes seconds."""

_SWEEP_SECONDS = 600.0
_PAGE_SIZE = 100

ReadHeaders = Callable[[str, Collection[str]], Awaitable[Mapping[str, Header]]]
"""Returns the stored headers of a submitter by sample id. Ids without a header are omitted."""

logger = logging.getLogger("graphql_api")


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload of `chunks` chunks of a sample."""

    submitter: str
    sample_id: str
    chunks: int
    id: str = field(default_factory=document_paths.new_upload_id)

    def chunk_path(self, number: int) -> str:
        """Return the path of chunk `number`, from 0."""
        return document_paths.chunk(self.submitter, self.sample_id, self.id, number)


class Uploads:
    """The documents of uploads, and the removal of chunks without a header."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, read_headers: ReadHeaders) -> None:
        self._firestore = firestore
        self._writer = writer
        self._read_headers = read_headers

    async def begin(self, upload: Upload) -> None:
        """Record an upload. Its chunks can be written after this."""
        fields = {
            "submitter": upload.submitter,
            "sample": upload.sample_id,
            "chunks": upload.chunks,
            "started_at": SERVER_TIME,
        }
        write = encoding.to_write(self._firestore.name(document_paths.upload(upload.id)), fields)
        await self._writer.write(write, upload.submitter)

    async def end(self, upload: Upload) -> None:
        """Remove the record of an upload after its header is written or its chunks are removed."""
        name = self._firestore.name(document_paths.upload(upload.id))
        await self._writer.write(encoding.to_delete(name), upload.submitter)

    async def remove_chunks(self, upload: Upload) -> None:
        """Remove the chunks and the record of an upload. If a stored header refers to the chunks, keep the chunks."""
        header = (await self._read_headers(upload.submitter, [upload.sample_id])).get(upload.sample_id)
        if header is None or header.upload_id != upload.id:
            for number in range(upload.chunks):
                name = self._firestore.name(upload.chunk_path(number))
                await self._writer.write(encoding.to_delete(name), upload.submitter)
        await self.end(upload)

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
        after = ""
        while page := await self._page(after):
            for document in page:
                if now - encoding.to_datetime(document.update_time) >= min_age:
                    await self.remove_chunks(_decode(document))
                    removed += 1
            after = page[-1].name
        if removed:
            logger.info("removed the chunks of %d uploads that were interrupted", removed)
        return removed

    async def _page(self, after: str) -> list[Any]:
        query = StructuredQuery(from_=[{"collection_id": document_paths.UPLOADS}], limit={"value": _PAGE_SIZE})
        query.order_by.add(direction=1).field.field_path = "__name__"
        if after:
            query.start_at.values.add(reference_value=after)
            query.start_at.before = False
        return await self._firestore.documents("", query)


def _decode(document: Any) -> Upload:
    fields = encoding.from_document(document)
    upload_id = document.name.rpartition("/")[2]
    return Upload(str(fields["submitter"]), str(fields["sample"]), int(str(fields["chunks"])), upload_id)
