"""Uploads: a document `uploads/{id}` exists while the chunks of a large sample are written.

If the process is killed before it has written the header, the chunks remain, and no client can read them. The document
contains their paths. `sweep` removes the chunks of old uploads that have no header.

The same sample can be uploaded again with its idempotency key, to the same chunks. The document then changes. A sweep
first marks the document, on the condition that it has not changed. A new upload does not start while this mark is set.
A sweep therefore never removes the chunks of an upload in progress.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

from storage.documents import Header, Identity, RetryLater, Unavailable, document_paths
from storage.documents.server_time import SERVER_TIME
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.firestore.messages import StructuredQuery

MIN_AGE = timedelta(hours=1)
"""The minimum age of an upload that a sweep removes. An upload takes seconds. A later retry writes its chunks again."""

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

    async def begin(self, identity: Identity, chunks: int) -> None:
        """Record the upload of a number of chunks. Raises `Unavailable` if a sweep is removing the same chunks."""
        path = document_paths.upload(identity.id, identity.sha256)
        write = encoding.to_write(
            self._firestore.name(path),
            {
                "submitter": identity.submitter,
                "sample": identity.id,
                "sha256": identity.sha256,
                "chunks": chunks,
                "attempt": uuid.uuid4().hex,  # so that a repeated upload changes the document
                "started_at": SERVER_TIME,
                "is_swept": False,
            },
        )
        write.current_document.exists = False
        try:
            try:
                await self._writer.write(write, identity.submitter)
            except PreconditionFailed:  # an earlier upload of this sample ended without a header, or is in progress
                existing = (await self._firestore.batch_get([path])).get(path)
                if existing is None or existing.fields["is_swept"].boolean_value:
                    raise
                write.current_document.update_time.CopyFrom(existing.update_time)
                await self._writer.write(write, identity.submitter)
        except PreconditionFailed:
            raise Unavailable("an earlier upload of this sample is being removed; retry later") from None

    async def end(self, identity: Identity) -> None:
        """Remove the record of an upload after the header is written or the chunks are removed."""
        name = self._firestore.name(document_paths.upload(identity.id, identity.sha256))
        await self._writer.write(encoding.to_delete(name), identity.submitter)

    async def remove_chunks(self, identity: Identity, chunks: int) -> None:
        """Remove the chunks and the record of an upload. If a stored header refers to the chunks, keep the chunks."""
        header = (await self._read_headers(identity.submitter, [identity.id])).get(identity.id)
        if header is None or header.sha256 != identity.sha256:
            for number in range(chunks):
                path = document_paths.chunk(identity.submitter, identity.id, identity.sha256, number)
                await self._writer.write(encoding.to_delete(self._firestore.name(path)), identity.submitter)
        await self.end(identity)

    async def sweep_regularly(self) -> None:
        """Sweep every ten minutes, until cancelled."""
        while True:
            try:
                await self.sweep()
            except (RetryLater, FirestoreError) as error:
                logger.warning("could not remove the chunks of uploads that were interrupted: %s", error)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def sweep(self, min_age: timedelta = MIN_AGE) -> int:
        """Remove the chunks of uploads older than `min_age` that have no header. Return the number of uploads."""
        now = await self._firestore.now()
        removed = 0
        after = ""
        while page := await self._page(after):
            for document in page:
                if now - encoding.to_datetime(document.update_time) >= min_age:
                    removed += await self._sweep(document)
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

    async def _sweep(self, document: Any) -> bool:
        """Remove the chunks of one upload. Return False if the upload has started again."""
        fields = encoding.from_document(document)
        mark = encoding.to_write(document.name, fields | {"is_swept": True, "attempt": uuid.uuid4().hex})
        mark.current_document.update_time.CopyFrom(document.update_time)
        try:
            await self._writer.write(mark)
        except PreconditionFailed:
            return False
        identity = Identity(str(fields["submitter"]), str(fields["sample"]), str(fields["sha256"]), False)
        await self.remove_chunks(identity, int(str(fields["chunks"])))
        return True
