"""The stored checkpoint of a submitter."""

from dataclasses import replace
from datetime import datetime

from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.rollups.checkpoint import CHECKPOINT, Checkpoint


class CheckpointStore:
    """The checkpoint of one submitter. Each method raises `Unavailable` or `FirestoreError`."""

    def __init__(self, firestore: Firestore, submitter: str) -> None:
        self._firestore = firestore
        self._path = document_paths.rollup(submitter, CHECKPOINT)

    async def read(self, read_time: datetime | None = None) -> Checkpoint | None:
        """Return the checkpoint at `read_time` or now, or None if the submitter has no rollups."""
        document = (await self._firestore.batch_get([self._path], read_time=read_time)).get(self._path)
        if document is None:
            return None
        return Checkpoint.from_fields(encoding.from_document(document), encoding.to_datetime(document.update_time))

    async def write(self, writer: GroupCommitWriter, checkpoint: Checkpoint) -> Checkpoint:
        """Store the checkpoint, and return it with its new update time.

        Raises `PreconditionFailed` if another instance has changed it.
        """
        name = self._firestore.name(self._path)
        written = await writer.write(encoding.to_conditional_write(name, checkpoint.fields(), checkpoint.update_time))
        return replace(checkpoint, update_time=encoding.to_datetime(written.update_time))
