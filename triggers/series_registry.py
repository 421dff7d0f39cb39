"""The series registry: stores each combination of labels once, as `series/{digest}`.

Readers list the groups of results from these documents, without reading results.
"""

import contextlib
from collections import OrderedDict

from storage.documents import Labels, document_paths, labels
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

MAX_REMEMBERED_SERIES = 100_000


class SeriesRegistry:
    """Registers series. It remembers those that it has registered, so a sample of a known series costs no write."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        self._firestore = firestore
        self._writer = writer
        self._registered: OrderedDict[str, None] = OrderedDict()  # paths

    async def register(self, submitter: str, series: Labels) -> None:
        """Store the series of results with these labels, unless it is stored.

        Raises `FirestoreError` if Firestore rejects the write.
        """
        path = document_paths.series(submitter, labels.term(series))
        if path in self._registered:
            self._registered.move_to_end(path)
            return
        write = encoding.to_write(self._firestore.name(path), {"labels": dict(series)})
        write.current_document.exists = False
        with contextlib.suppress(PreconditionFailed):  # another sample of the series was first
            await self._writer.write(write, submitter)
        self._registered[path] = None
        if len(self._registered) > MAX_REMEMBERED_SERIES:
            self._registered.popitem(last=False)
