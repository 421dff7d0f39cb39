"""Reads as calls ask for them: now, at a past time, in a transaction, or beginning one."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.messages import microseconds
from infra.embedded.firestore.queries import scanner
from infra.embedded.firestore.queries.structured_query import Query, SortKey
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes.transactions import Transaction, Transactions

FEW_DOCUMENTS = 16  # a thread costs more than so many look-ups


class Reading:
    """One call's view of the database. `read_time` is known once something was read."""

    def __init__(self, storage: Storage, transactions: Transactions, request: Any | None, database: str) -> None:
        self._storage = storage
        self._transactions = transactions
        self._transaction: Transaction | None = None
        self._moment: Snapshot | None = None
        self._is_named = False  # the moment is not of this call: what was there then may be pruned by now
        self.started_transaction = b""
        selector = None if request is None else request.WhichOneof("consistency_selector")
        if request is None or selector is None:
            return
        if selector == "read_time":
            self.at(storage.past_time(microseconds(request.read_time)))
        elif selector == "transaction":
            self._transaction = transactions.get(request.transaction, database)
        else:
            self._transaction = transactions.begin(database, request.new_transaction)
            self.started_transaction = self._transaction.id

    def at(self, read_time: int) -> None:
        """Read at this moment, which is known to be within reach."""
        self._moment = Snapshot(read_time, 0)
        self._is_named = True

    def go_on_at(self, read_time: int) -> None:
        """Read at the moment of an earlier page, unless a transaction holds what that was: then it is still so."""
        if self._transaction is None:
            self.at(read_time)

    @property
    def read_time(self) -> int:
        """The moment that is read at."""
        return self._fix().read_time

    async def settle(self) -> Snapshot:
        """Fix the moment to read at, and wait until it can be seen whole."""
        if self._moment is None and self._transaction is not None and self._transaction.locks:
            await self._storage.settle()  # what is being committed was not held up by the locks just taken
        moment = self._fix()
        await self._storage.settle(moment.read_time)
        return moment

    def _fix(self) -> Snapshot:
        if self._moment is None:
            transaction = self._transaction
            if transaction is None or transaction.locks:
                self._moment = self._storage.snapshot()
            else:
                self._is_named = transaction.moment is not None
                transaction.moment = self._moment = transaction.moment or self._storage.snapshot()
        return self._moment

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        """Keep the transaction alive; end it if the call fails that began it, since its client knows no id to end."""
        try:
            with self._transactions.call(self._transaction):
                yield
        except BaseException:
            if self.started_transaction:
                self._transactions.rollback(self.started_transaction)
            raise

    async def documents(self, wanted: Sequence[resource_names.ResourceName]) -> list[versions.Stored | None]:
        """Return documents by their names."""
        with self._call():
            return await self._documents(wanted, self._transaction)

    async def _documents(
        self, wanted: Sequence[resource_names.ResourceName], transaction: Transaction | None
    ) -> list[versions.Stored | None]:
        if transaction is not None and transaction.locks:
            for name in sorted(wanted, key=lambda name: name.segments):
                await self._transactions.locks.share_document(transaction, str(name))
        read_time = (await self.settle()).read_time

        def find(connection: sqlite3.Connection) -> list[versions.Stored | None]:
            if self._is_named:
                versions.check_reach(connection, read_time)
            return [versions.find(connection, self._storage.catalog, name, read_time) for name in wanted]

        few = len(wanted) <= FEW_DOCUMENTS
        found = self._storage.read_now(find) if few else await self._storage.read(find)
        if transaction is not None and not transaction.read_only:
            for name, stored in zip(wanted, found, strict=True):
                transaction.note_read(str(name), name, 0 if stored is None else stored.sequence)
        return found

    async def count(self, query: Query) -> int:
        """Return how many documents a query finds."""
        if self._transaction is None:
            count = await scanner.count(self._storage, query, (await self.settle()).read_time)
            if count is not None:
                return count
        count = 0
        async for _ in self.query(query):
            count += 1
        return count

    async def query(self, query: Query) -> AsyncIterator[scanner.Found]:
        """Yield the documents that a query finds, each with its sort key, in its order."""
        with self._call():
            found = self._query(query, self._transaction)
            async for each in found if query.nearest is None else query.nearest.among(found):
                yield each

    async def _query(self, query: Query, transaction: Transaction | None) -> AsyncIterator[scanner.Found]:
        lock = None
        if transaction is not None and transaction.locks:
            lock = await self._transactions.locks.share_query(transaction, query)
        moment = await self.settle()
        index = None
        if transaction is not None and not transaction.read_only:
            index = transaction.note_query(query, moment.sequence)
        count = 0
        last_key: SortKey = ()
        async for last_key, document in scanner.stream(self._storage, query, moment.read_time):
            count += 1
            yield last_key, document
        if query.limit is not None and 0 < count == query.limit:
            if lock is not None:
                lock.narrow(last_key)
            if transaction is not None and index is not None:
                transaction.narrow_query(index, last_key)
