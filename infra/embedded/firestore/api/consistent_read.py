"""Reads at the read time that a request selects: now, a past time, or the time of a transaction.

All reads of one RPC see the same state. The field `consistency_selector` of a request selects the read time.
"""

import contextlib
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any

from infra.embedded.firestore.encoding import limits, resource_names
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries import result_pages, sort_order
from infra.embedded.firestore.queries.counts import Counts
from infra.embedded.firestore.queries.scanner import Progress, StoredResult
from infra.embedded.firestore.queries.sort_order import SortKey
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes.locks import QueryLock
from infra.embedded.firestore.writes.transactions import RecordedQuery, Transaction, Transactions

MAX_LOOKUPS_ON_LOOP = 16  # a few look-ups cost less than a switch to a reader thread


class ConsistentRead:
    """The reads of one RPC at the same read time. If the request does not set this time, the first read chooses it."""

    def __init__(self, storage: Storage, transactions: Transactions, request: Any | None, database: str) -> None:
        self._storage = storage
        self._transactions = transactions
        self._transaction: Transaction | None = None
        self._snapshot: Snapshot | None = None
        self._may_be_pruned = False  # whether the read time is older than this RPC
        self._started_transaction = b""
        selector = None if request is None else request.WhichOneof("consistency_selector")
        if request is None or selector is None:
            return
        if selector == "read_time":
            self.set_read_time(storage.check_read_time(limits.version_time(request.read_time)))
        elif selector == "transaction":
            self._transaction = transactions.get(request.transaction, database)
        else:
            self._transaction = transactions.begin(database, request.new_transaction)
            self._started_transaction = self._transaction.id

    def take_started_transaction(self) -> bytes:
        """Return the id of the transaction that this RPC started, once, for the next response. Else return b"".

        The transaction then continues after the RPC: the client may have the id before a write of the response returns.
        """
        started, self._started_transaction = self._started_transaction, b""
        return started

    def set_read_time(self, read_time: int) -> None:
        """Set the read time, in microseconds since the epoch."""
        self._snapshot = Snapshot(read_time, 0)
        self._may_be_pruned = True

    def resume_at(self, read_time: int) -> None:
        """Use the read time of the earlier page, so that all pages show the same state.

        A transaction keeps its own read time: its locks or its snapshot already provide the same state.
        """
        if self._transaction is None:
            self.set_read_time(read_time)

    @property
    def read_time(self) -> int:
        """The read time, in microseconds since the epoch. If it is not set yet, choose it."""
        return self._fix_snapshot().read_time

    async def settle(self) -> Snapshot:
        """Choose the read time if it is not set. Then wait until readers see every commit up to the read time."""
        if self._snapshot is None and self._transaction is not None and self._transaction.takes_locks:
            await self._storage.wait_until_visible()  # running commits have not checked the new locks
        snapshot = self._fix_snapshot()
        await self._storage.wait_until_visible(snapshot.read_time)
        return snapshot

    def _fix_snapshot(self) -> Snapshot:
        if self._snapshot is None:
            transaction = self._transaction
            if transaction is None or transaction.takes_locks:
                self._snapshot = self._storage.snapshot()
            else:
                self._may_be_pruned = transaction.snapshot is not None
                transaction.snapshot = self._snapshot = transaction.snapshot or self._storage.snapshot()
        return self._snapshot

    @contextlib.contextmanager
    def _running_call(self) -> Iterator[None]:
        """Mark the transaction as in use during a call.

        If the call started the transaction and fails before it sends the id, end the transaction.
        """
        try:
            with self._transactions.running_call(self._transaction):
                yield
        except BaseException:
            if self._transaction is not None and self._started_transaction:
                self._transactions.rollback(self._started_transaction, self._transaction.database)
            raise

    async def documents(
        self, document_names: Sequence[resource_names.ResourceName]
    ) -> list[versions.DocumentVersion | None]:
        """Return the documents in the order of `document_names`, with None for each document that does not exist."""
        return [stored async for page in self.document_pages(document_names) for stored in page]

    async def document_pages(
        self, document_names: Sequence[resource_names.ResourceName]
    ) -> AsyncIterator[list[versions.DocumentVersion | None]]:
        """Yield the same documents page by page, so that many large documents need little memory."""
        transaction = self._transaction
        start = 0

        def find(connection: sqlite3.Connection) -> list[versions.DocumentVersion | None]:
            if self._may_be_pruned or start:
                versions.check_retained(connection, read_time)
            rest = islice(document_names, start, None)
            return versions.find_page(connection, self._storage.catalog, rest, read_time, result_pages.PAGE_BYTES)

        with self._running_call():
            if transaction is not None and transaction.takes_locks:
                for name in sorted(document_names, key=lambda name: name.segments):
                    await self._transactions.locks.lock_document(transaction, str(name))
            read_time = (await self.settle()).read_time
            on_loop = len(document_names) <= MAX_LOOKUPS_ON_LOOP
            while start < len(document_names):
                found = self._storage.read_blocking(find) if on_loop else await self._storage.read(find)
                if transaction is not None and not transaction.is_read_only:
                    names = document_names[start : start + len(found)]
                    for name, stored in zip(names, found, strict=True):
                        transaction.record_read(str(name), name, 0 if stored is None else stored.sequence)
                start += len(found)
                yield found

    async def count(self, query: Query, counts: Counts) -> int:
        """Return the number of documents that match a query."""
        if self._transaction is None:
            count = await counts.count(query, (await self.settle()).read_time)
            if count is not None:
                return count
        count = 0
        async for _ in self.query(query):
            count += 1
        return count

    async def query(self, query: Query) -> AsyncGenerator[sort_order.KeyedDocument]:
        """Yield the documents that match a query, each with its sort key, in the order of the query."""
        async for page in self.pages(query):
            for key, document in page:
                yield key, Document.FromString(document)

    async def pages(self, query: Query, progress: Progress | None = None) -> AsyncIterator[list[StoredResult]]:
        """Yield the documents of `query` page by page, serialized. `progress` counts what the query reads."""
        with self._running_call():
            pages = self._pages(query, progress)
            if query.find_nearest is None:
                async for page in pages:
                    yield page
            else:
                documents = ((key, Document.FromString(document)) async for page in pages for key, document in page)
                async for key, document in query.find_nearest.search(documents):
                    yield [(key, document.SerializeToString())]

    async def protect(self, query: Query) -> None:
        """In a read-write transaction, prevent changes of the results of a query that is not executed."""
        with self._running_call():
            await self._protect(query)

    async def _protect(self, query: Query) -> list[QueryLock | RecordedQuery]:
        """Lock and record a query, as its transaction needs it. Return the lock and the record."""
        transaction = self._transaction
        protections: list[QueryLock | RecordedQuery] = []
        if transaction is not None and transaction.takes_locks:
            protections.append(await self._transactions.locks.lock_query(transaction, query))
        snapshot = await self.settle()
        if transaction is not None and not transaction.is_read_only:
            protections.append(transaction.record_query(query, snapshot.sequence))
        return protections

    async def _pages(self, query: Query, progress: Progress | None) -> AsyncIterator[list[StoredResult]]:
        """Yield the same pages, without a vector search. A transaction locks or records the query."""
        protections = await self._protect(query)
        count = 0
        last_key: SortKey = ()
        async for page in result_pages.pages(self._storage, query, self.read_time, progress=progress):
            count += len(page)
            last_key = page[-1][0] if page else last_key
            yield page
        if query.limit is not None and 0 < count == query.limit:
            for each in protections:
                each.narrow(last_key)
