"""The reads of the audit. They are counted by the rules by which Google Cloud bills them.

A damaged document must not stop the audit of other documents. If a read contains one, the audit reads the other
documents without it, and logs an error.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from storage.firestore.client import Firestore
from storage.firestore.errors import DamagedDocument
from storage.firestore.messages import Document, StructuredQuery
from triggers.audit.window import Window

T = TypeVar("T")

MAX_FAILED_READS = 1_000
"""How many reads of one run can contain a damaged document. To read around one document, 20 to 60 reads fail."""

_MAX_CONCURRENT_QUERIES = 16
_ENTRIES_PER_READ = 1_000
_BATCH_SIZE = 500

logger = logging.getLogger("triggers")


class AuditReads:
    """Reads documents of all submitters. Every method raises `Unavailable` or `FirestoreError`."""

    def __init__(self, firestore: Firestore) -> None:
        self._firestore = firestore
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_QUERIES)
        self.billed = 0
        """The number of reads since the process started."""
        self.failed = 0
        """The number of reads of this run that contained a damaged document. A run starts with 0."""

    async def count(self, parent: str, query: StructuredQuery) -> int:
        """Return the number of documents of a query."""
        async with self._slots:
            count = await self._firestore.count(parent, query)
        self.billed += max(1, -(-count // _ENTRIES_PER_READ))
        return count

    async def documents(self, parent: str, query: StructuredQuery) -> list[Document]:
        """Return the documents of a query. Raises `DamagedDocument`."""
        async with self._slots:
            documents = await self._firestore.documents(parent, query)
        self.billed += max(1, len(documents))
        return documents

    async def undamaged(self, read: Callable[[Window], Awaitable[list[Document]]], window: Window) -> list[Document]:
        """Return the documents that `read` returns for a window, without damaged documents."""
        try:
            return await read(window)
        except DamagedDocument as error:
            self._count_failure(error)
            if not window.is_divisible:
                log_damage("the samples or findings of one time are not checked", error)
                return []
        first, second = window.halves()
        return await self.undamaged(read, first) + await self.undamaged(read, second)

    async def existing(self, paths: Collection[str], *mask: str) -> dict[str, Document | None]:
        """Return the existing documents, by path. A damaged document is None."""
        self.billed += len(paths)
        found: dict[str, Document | None] = {}
        for part in parts(list(paths), _BATCH_SIZE):
            found |= await self._read(part, mask)
        return found

    async def _read(self, paths: Sequence[str], mask: Collection[str]) -> Mapping[str, Document | None]:
        try:
            return await self._firestore.batch_get(paths, mask=mask)
        except DamagedDocument as error:
            self._count_failure(error)
            if len(paths) == 1:
                log_damage(f"{paths[0]} cannot be checked", error)
                return {paths[0]: None}
        found: dict[str, Document | None] = {}
        for half in parts(paths, (len(paths) + 1) // 2):
            found |= await self._read(half, mask)
        return found

    def _count_failure(self, error: DamagedDocument) -> None:
        """Count a read that contains a damaged document. Raise `error` if this run has had too many of them."""
        self.failed += 1
        if self.failed > MAX_FAILED_READS:
            raise error


def log_damage(consequence: str, error: DamagedDocument) -> None:
    """Log an error without a trace, because its message names the document."""
    logger.error("audit: %s: %s", consequence, error)


def parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return the items in parts of up to `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]
