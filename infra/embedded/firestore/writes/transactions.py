"""Transactions: they record their reads, and a commit succeeds only if these reads are still up to date.

A pessimistic transaction reads the newest versions and locks them. An optimistic transaction reads one snapshot and
does not lock. For both kinds, the writer validates the reads in the SQLite transaction of the commit. An error in
locks, waits or timeouts therefore cannot make a commit incorrect.
"""

import asyncio
import contextlib
import itertools
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from infra.embedded.firestore.encoding import limits, resource_names
from infra.embedded.firestore.errors import StatusError, aborted, from_exception, invalid_argument
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.queries.sort_order import SortKey
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.change_feed import ParsedChange
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.commit_group import CommitGroup
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits
from infra.embedded.firestore.writes.document_write import PreparedWrite
from infra.embedded.firestore.writes.lock_queue import EXPIRED, LockOwner
from infra.embedded.firestore.writes.locks import CONTENTION, MAX_WAIT_SECONDS, BlockedByLocks, Locks

MAX_LIFETIME_SECONDS = 270.0
MAX_IDLE_SECONDS = 60.0
EXPIRATION_INTERVAL_SECONDS = 5.0
MAX_REMEMBERED_AGES = 10_000
MAX_CHANGES_ON_WRITER = 1_000
"""A reader validates the queries of a transaction up to about this number of changes before the last change. The writer
would otherwise hold up all other writes: 60,000 changes after a query took 1.2 s.
"""
MAX_CHANGES_PER_READ = 5_000
MAX_STORED_BYTES = 8 * 1024 * 1024
"""A batch of writes to larger documents is split into several group commits. A group holds the earlier versions of its
documents in memory, and other writes wait for it.
"""
OPTIMISTIC = 1


@dataclass(slots=True)
class RecordedQuery:
    """A query that a transaction has read, and the last sequence of its snapshot."""

    query: Query
    sequence: int

    def narrow(self, last_key: SortKey) -> None:
        """Restrict the validation to keys up to the last result, because the limit of the query excludes later keys."""
        self.query = self.query.ending_at(last_key)

    def validate(self, connection: sqlite3.Connection, catalog: Catalog, limit: int = -1) -> int:
        """Raise ABORTED if one of the next `limit` changes concerns the query. Return the last sequence of these."""
        if versions.pruned_sequence(connection) > self.sequence:
            raise aborted(CONTENTION)  # changes after `sequence` may be deleted
        last = self.sequence
        for change in versions.changes(connection, catalog, self.sequence, limit):
            parsed = ParsedChange(change)
            if self.query.covers(parsed.name) and any(
                document is not None and self.query.matching_key(parsed.path, document) is not None
                for document in (parsed.old, parsed.new)
            ):
                raise aborted(CONTENTION)
            last = change.sequence
        return last


class Transaction(LockOwner):
    """One attempt of a client to run a transaction."""

    def __init__(self, age: int, database: str, is_read_only: bool, is_optimistic: bool, started_at: float) -> None:
        super().__init__(age)
        self.id = secrets.token_bytes(16)
        self.database = database
        self.is_read_only = is_read_only
        self.takes_locks = not (is_read_only or is_optimistic)
        self.snapshot: Snapshot | None = None
        self.running_calls = 0
        self._is_committing = False
        self._reads: dict[str, tuple[resource_names.ResourceName, int]] = {}
        self._queries: list[RecordedQuery] = []
        self._started_at = self.last_used_at = started_at

    def has_expired(self, now: float) -> bool:
        """Return whether the lifetime or the idle time is exceeded. A transaction with a running call is not idle."""
        is_idle = not self.running_calls and now - self.last_used_at > MAX_IDLE_SECONDS
        return is_idle or now - self._started_at > MAX_LIFETIME_SECONDS

    def begin_commit(self) -> None:
        """Raise StatusError if a Commit of this transaction is running. Each Commit would store its writes."""
        if self._is_committing:
            raise invalid_argument(EXPIRED)
        self._is_committing = True

    def record_read(self, full_name: str, name: resource_names.ResourceName, sequence: int) -> None:
        """Record the version of a document that was read; 0 if it does not exist. Only the first read is recorded."""
        self._reads.setdefault(full_name, (name, sequence))

    def record_query(self, query: Query, sequence: int) -> RecordedQuery:
        """Record a query and the last sequence of its snapshot."""
        recorded = RecordedQuery(query, sequence)
        self._queries.append(recorded)
        return recorded

    def validate(self, group: CommitGroup) -> None:
        """Raise ABORTED if a document or query result that was read has changed. Call this on the writer's thread."""
        for name, sequence in list(self._reads.values()):
            _, stored = group.find(name, name.path)
            if (stored.sequence if stored else 0) != sequence:
                raise aborted(CONTENTION)
        for recorded in list(self._queries):
            recorded.validate(group.connection, group.catalog)

    async def validate_early(self, storage: Storage) -> None:
        """Raise ABORTED if a query result has changed. The last changes may be left to `validate`."""
        for recorded in list(self._queries):
            while storage.snapshot().sequence - recorded.sequence > MAX_CHANGES_ON_WRITER:
                recorded.sequence = await storage.read(
                    partial(recorded.validate, catalog=storage.catalog, limit=MAX_CHANGES_PER_READ)
                )


class Transactions:
    """All active transactions, and the commits of clients. `clock` returns monotonic time in seconds."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._active: dict[bytes, Transaction] = {}
        self._ages: dict[bytes, int] = {}  # by id; includes ended transactions, because a retry keeps the age
        self._counter = itertools.count(1)
        self.locks = Locks()
        self._expiring = asyncio.create_task(self._expire_periodically())

    @property
    def active_count(self) -> int:
        """The number of active transactions."""
        return len(self._active)

    async def close(self) -> None:
        """Stop the background task that expires transactions."""
        self._expiring.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._expiring

    def begin(self, database: str, options: Any) -> Transaction:
        """Start a transaction with the options of a TransactionOptions message."""
        is_read_only = options.WhichOneof("mode") == "read_only"
        age = self._ages.get(options.read_write.retry_transaction) or next(self._counter)
        is_optimistic = options.read_write.concurrency_mode == OPTIMISTIC
        transaction = Transaction(age, database, is_read_only, is_optimistic, self._clock())
        if is_read_only:
            transaction.snapshot = self._storage.snapshot()
            if options.read_only.HasField("read_time"):
                transaction.snapshot = Snapshot(
                    self._storage.check_read_time(limits.version_time(options.read_only.read_time)), 0
                )
        self._active[transaction.id] = transaction
        self._ages[transaction.id] = age
        return transaction

    def get(self, transaction_id: bytes, database: str) -> Transaction:
        """Return an active transaction, or raise StatusError if it has ended or expired."""
        transaction = self._active.get(transaction_id)
        if transaction is None or transaction.database != database or transaction.has_expired(self._clock()):
            raise invalid_argument(EXPIRED)
        transaction.last_used_at = self._clock()
        return transaction

    @contextlib.contextmanager
    def running_call(self, transaction: Transaction | None) -> Iterator[None]:
        """Mark a transaction as in use while a call runs."""
        if transaction is None:
            yield
            return
        transaction.running_calls += 1
        try:
            yield
        finally:
            transaction.running_calls -= 1
            transaction.last_used_at = self._clock()

    def rollback(self, transaction_id: bytes, database: str) -> None:
        """End a transaction of a database. Do nothing if it has ended already."""
        transaction = self._active.get(transaction_id)
        if transaction is not None and transaction.database == database:
            self._end(transaction)

    async def commit(self, writes: list[PreparedWrite], transaction: Transaction | None) -> Any:
        """Commit writes, with or without a transaction, and return the CommitResponse. Wait for conflicting locks."""
        owner = transaction or LockOwner(next(self._counter))

        def work(group: CommitGroup) -> Any:
            owner.check_active()
            if transaction is not None and writes and not transaction.is_read_only:
                transaction.validate(group)
            return commits.commit(group, writes, partial(self.locks.check, owner))

        if transaction is not None and transaction.is_read_only and writes:
            raise invalid_argument("Cannot modify entities in a read-only transaction.")
        if transaction is not None:
            transaction.begin_commit()
        try:
            with self.running_call(transaction):
                if transaction is not None and writes:
                    await transaction.validate_early(self._storage)
                return await self._commit_when_unlocked(owner, work)
        finally:
            if transaction is not None:
                self._end(transaction)
            else:
                self.locks.release(owner)

    async def _commit_when_unlocked(self, owner: LockOwner, work: Callable[[CommitGroup], Any]) -> Any:
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        while True:
            try:
                return await self._storage.write(work)
            except BlockedByLocks as blocked:
                if time.monotonic() > deadline:
                    raise
                await self.locks.wait_for_holder(owner, blocked)

    async def batch_write(self, writes: list[PreparedWrite]) -> list[tuple[Any, StatusError | None]]:
        """Commit each write independently. Return the result and the error of each write.

        Writes that conflict with locks wait up to MAX_WAIT_SECONDS. Other writes do not wait.
        """
        owner = LockOwner(next(self._counter))
        outcomes: list[tuple[Any, StatusError | None]] = [(None, None)] * len(writes)
        remaining, blocked = list(range(len(writes))), list[int]()
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        try:
            while remaining:
                attempted = [writes[index] for index in remaining]
                check = partial(self.locks.check, owner)
                work = partial(commits.batch_write, writes=attempted, check_conflicts=check, max_bytes=MAX_STORED_BYTES)
                try:
                    attempt = await self._storage.write(work)
                except (sqlite3.Error, StatusError) as error:
                    if len(remaining) == len(writes):  # no write is stored
                        raise
                    attempt = [(None, from_exception(error))] * len(remaining)
                for index, outcome in zip(remaining, attempt, strict=False):
                    outcomes[index] = outcome
                    if isinstance(outcome[1], BlockedByLocks):
                        blocked.append(index)
                remaining = remaining[len(attempt) :]
                if blocked and not remaining:  # each write was attempted since the last wait
                    if time.monotonic() > deadline:
                        break
                    await self._wait_for_holder(owner, outcomes[blocked[0]][1])
                    remaining, blocked = blocked, []
        finally:
            self.locks.release(owner)
        return outcomes

    async def _wait_for_holder(self, owner: LockOwner, blocked: Any) -> None:
        with contextlib.suppress(StatusError):  # the deadline of the batch decides when to stop
            await self.locks.wait_for_holder(owner, blocked)

    def _end(self, transaction: Transaction) -> None:
        self._active.pop(transaction.id, None)
        self.locks.release(transaction)

    def end_expired(self) -> None:
        """End all expired transactions and release their locks."""
        now = self._clock()
        for transaction in [each for each in self._active.values() if each.has_expired(now)]:
            self._end(transaction)

    async def _expire_periodically(self) -> None:
        while True:
            await asyncio.sleep(EXPIRATION_INTERVAL_SECONDS)
            self.end_expired()
            self._forget_old_ages()

    def _forget_old_ages(self) -> None:
        if len(self._ages) > 2 * len(self._active) + MAX_REMEMBERED_AGES:
            recent = list(self._ages.items())[-MAX_REMEMBERED_AGES:]
            active = ((each.id, each.age) for each in self._active.values())
            self._ages = dict((*active, *recent))
