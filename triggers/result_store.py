"""The result store: reads a sample from Firestore and writes its result once.

Events arrive at least once and in any order. A result therefore stores the update time of its
sample. Only a result with a newer update time replaces it.

A new sample has no result, so the store first tries to create the result without a read. If a
result exists, the store reads it. If that result is older, the store replaces it on the condition
that it has not changed since. If the condition fails, the store starts over.
"""

from datetime import datetime
from typing import Any

from storage.documents import Header, Result, Unavailable, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, InvalidWrite, PreconditionFailed
from storage.firestore.group_commit_writer import GroupCommitWriter
from triggers.sample_event import SampleEvent


class ResultStore:
    """Samples and results of one database.

    Every method raises `Unavailable` if Firestore does not respond or rejects the call. An operator
    must fix some of these errors, such as a missing permission. Eventarc sends the event again until then.
    """

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        self._firestore = firestore
        self._writer = writer

    async def read_header(self, event: SampleEvent) -> Any:
        """Return the header of a sample as a protocol `Document`, or None if the sample does not exist.

        The header comes from the event. If the event has none, this method reads the current header.
        """
        if event.header is not None:
            return event.header
        path = document_paths.sample(event.submitter, event.sample_id)
        return (await self._read([path])).get(path)

    async def read_chunks(self, header: Header) -> list[bytes]:
        """Return the existing chunks of a sample in order. `Header.assemble` reports missing chunks."""
        paths = [
            document_paths.chunk(header.submitter, header.id, header.sha256, number) for number in range(header.chunks)
        ]
        documents = await self._read(paths)
        # pop() frees each message as its bytes are copied, so that the chunks are not in memory twice.
        return [documents.pop(path).fields["data"].bytes_value for path in paths if path in documents]

    async def write(self, result: Result) -> bool:
        """Write `result`. Return False if a result of the same or a newer update time exists.

        Raises `InvalidWrite` if Firestore does not accept the result. A retry then fails too.
        """
        path = document_paths.result(result.submitter, result.sample_id)
        write = encoding.to_write(self._firestore.name(path), result.fields())
        write.current_document.exists = False
        while not await self._try_write(write):
            existing = (await self._read([path], "sample_update_time")).get(path)
            if existing is None:  # deleted since the attempt
                write.current_document.exists = False
                continue
            update_time = encoding.from_document(existing).get("sample_update_time")
            if isinstance(update_time, datetime) and update_time >= result.sample_update_time:
                return False
            write.current_document.update_time.CopyFrom(existing.update_time)
        return True

    async def _try_write(self, write: Any) -> bool:
        """Write once; return False if the precondition failed."""
        try:
            await self._writer.write(write)
        except PreconditionFailed:
            return False
        except InvalidWrite:
            raise
        except FirestoreError as error:
            raise Unavailable(str(error)) from error
        return True

    async def _read(self, paths: list[str], *mask: str) -> dict[str, Any]:
        try:
            return await self._firestore.batch_get(paths, mask=mask)
        except FirestoreError as error:
            raise Unavailable(str(error)) from error
