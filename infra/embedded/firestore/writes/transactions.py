"""Transactions: what each has read, and whether that still holds when it commits.

A pessimistic transaction reads what is newest and locks it; an optimistic one reads a single moment and
locks nothing. Either may commit only if nothing it read has changed since, which the writer checks in the
same SQLite transaction, so that no lock, wait or time-out can make a commit wrong.
"""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.errors import StatusError, aborted, invalid_argument
from infra.embedded.firestore.messages import microseconds
from infra.embedded.firestore.queries.structured_query import Query, SortKey
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.change_feed import ParsedChange
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.writer import Group
from infra.embedded.firestore.writes import commits, locks
from infra.embedded.firestore.writes.document_write import PreparedWrite

LIFE_SECONDS = 270.0
IDLE_SECONDS = 60.0
SWEEP_SECONDS = 5.0
OPTIMISTIC = 1


class Transaction(locks.Party):
    """One attempt of a client to read and write as if alone."""

    def __init__(self, age: int, database: str, read_only: bool, optimistic: bool, started: float) -> None:
        super().__init__(age)
        self.id = secrets.token_bytes(16)
        self.database = database
        self.read_only = read_only
        self.optimistic = optimistic
        self.moment: Snapshot | None = None
        self.reads: dict[str, tuple[resource_names.ResourceName, int]] = {}
        self.queries: list[tuple[Query, int]] = []
        self.started = self.used = started
        self.calls = 0  # under way: it is not idle while one is

    @property
    def locks(self) -> bool:
        """Whether its reads keep others from writing."""
        return not (self.read_only or self.optimistic)

    def has_expired(self, now: float) -> bool:
        """Return whether it has taken too long, or has been left alone for too long."""
        idle = not self.calls and now - self.used > IDLE_SECONDS
        return idle or now - self.started > LIFE_SECONDS

    def note_read(self, full_name: str, name: resource_names.ResourceName, sequence: int) -> None:
        """Remember which version of a document was read (0: none); the first one counts."""
        self.reads.setdefault(full_name, (name, sequence))

    def note_query(self, query: Query, sequence: int) -> int:
        """Remember that a query was answered as of a change; the number returned is for `narrow_query`."""
        self.queries.append((query, sequence))
        return len(self.queries) - 1

    def narrow_query(self, index: int, last_key: SortKey) -> None:
        """Take note that a limit kept a query from looking behind its last result."""
        query, sequence = self.queries[index]
        self.queries[index] = (query.until(last_key), sequence)

    def validate(self, group: Group) -> None:
        """Raise unless all that was read is still so; for the writer's thread."""
        for name, sequence in list(self.reads.values()):
            _, stored = group.find(name, name.path)
            if (stored.sequence if stored else 0) != sequence:
                raise aborted(locks.CONTENTION)
        for query, sequence in list(self.queries):
            if versions.pruned(group.connection) > sequence:
                raise aborted(locks.CONTENTION)  # nobody can tell any more
            for change in group.changed_since(sequence):
                parsed = ParsedChange(change)
                if query.covers(parsed.name) and any(
                    document is not None and query.place(parsed.path, document) is not None
                    for document in (parsed.old, parsed.new)
                ):
                    raise aborted(locks.CONTENTION)


class Transactions:
    """All active transactions, and commits in their turn. `clock` counts seconds, from whenever."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._active: dict[bytes, Transaction] = {}
        self._ages: dict[bytes, int] = {}  # of transactions that may be retried, by the id of the first attempt
        self._counter = itertools.count(1)
        self.locks = locks.Locks()
        self._sweeping = asyncio.create_task(self._sweep())

    @property
    def active(self) -> int:
        """How many transactions are under way."""
        return len(self._active)

    async def close(self) -> None:
        """Stop looking for expired transactions."""
        self._sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sweeping

    def begin(self, database: str, options: Any) -> Transaction:
        """Start a transaction as a TransactionOptions message asks for it."""
        read_only = options.WhichOneof("mode") == "read_only"
        retried = options.read_write.retry_transaction
        age = self._ages.get(retried) or next(self._counter)
        optimistic = options.read_write.concurrency_mode == OPTIMISTIC
        transaction = Transaction(age, database, read_only, optimistic, self._clock())
        if read_only:
            transaction.moment = self._storage.snapshot()
            if options.read_only.HasField("read_time"):
                transaction.moment = Snapshot(self._storage.past_time(microseconds(options.read_only.read_time)), 0)
        self._active[transaction.id] = transaction
        self._ages[transaction.id] = age
        return transaction

    def get(self, transaction_id: bytes, database: str) -> Transaction:
        """Return an active transaction."""
        transaction = self._active.get(transaction_id)
        if transaction is None or transaction.database != database or transaction.has_expired(self._clock()):
            raise invalid_argument(locks.EXPIRED)
        transaction.used = self._clock()
        return transaction

    @contextlib.contextmanager
    def call(self, transaction: Transaction | None) -> Iterator[None]:
        """Keep a transaction from being idle for the length of a call."""
        if transaction is None:
            yield
            return
        transaction.calls += 1
        try:
            yield
        finally:
            transaction.calls -= 1
            transaction.used = self._clock()

    def rollback(self, transaction_id: bytes) -> None:
        """End a transaction; one that has ended already is all right."""
        transaction = self._active.get(transaction_id)
        if transaction is not None:
            self._end(transaction)

    async def commit(self, writes: list[PreparedWrite], transaction: Transaction | None) -> Any:
        """Commit writes, of a transaction or not, as soon as no other transaction is in the way."""
        party = transaction or locks.Party(next(self._counter))

        def work(group: Group) -> Any:
            party.check()
            if transaction is not None and writes and not transaction.read_only:
                transaction.validate(group)
            return commits.commit(group, writes, lambda pending: self.locks.check(party, pending))

        if transaction is not None and transaction.read_only and writes:
            raise invalid_argument("Cannot modify entities in a read-only transaction.")
        try:
            with self.call(transaction):
                return await self._submit(party, work)
        finally:
            if transaction is not None:
                self._end(transaction)
            else:
                self.locks.release(party)

    async def batch(self, writes: list[PreparedWrite]) -> list[tuple[Any, StatusError | None]]:
        """Commit each write by itself; those that are in nobody's way do not wait for the others."""
        party = locks.Party(next(self._counter))
        outcomes: list[tuple[Any, StatusError | None]] = [(None, None)] * len(writes)
        todo = list(range(len(writes)))
        deadline = time.monotonic() + locks.WAIT_SECONDS
        try:
            while todo:
                turn = [writes[index] for index in todo]
                answers = await self._storage.write(partial(self._batch_turn, turn, party))
                for index, answer in zip(todo, answers, strict=True):
                    outcomes[index] = answer
                blocked = [(index, outcomes[index][1]) for index in todo]
                todo = [index for index, refusal in blocked if isinstance(refusal, locks.Blocked)]
                if todo and time.monotonic() > deadline:
                    break
                if todo:
                    await self._wait_for_one(party, outcomes[todo[0]][1])
        finally:
            self.locks.release(party)
        return outcomes

    def _batch_turn(self, writes: list[PreparedWrite], party: locks.Party, group: Group) -> list[Any]:
        return commits.batch(group, writes, lambda pending: self.locks.check(party, pending))

    async def _wait_for_one(self, party: locks.Party, blocked: Any) -> None:
        with contextlib.suppress(StatusError):  # the deadline of the batch decides
            await self.locks.wait(party, blocked)

    async def _submit(self, party: locks.Party, work: Callable[[Group], Any]) -> Any:
        deadline = time.monotonic() + locks.WAIT_SECONDS
        while True:
            try:
                return await self._storage.write(work)
            except locks.Blocked as blocked:
                if time.monotonic() > deadline:
                    raise
                await self.locks.wait(party, blocked)

    def _end(self, transaction: Transaction) -> None:
        self._active.pop(transaction.id, None)
        self.locks.release(transaction)

    def expire(self) -> None:
        """End the transactions that have expired, so that nobody waits for them."""
        now = self._clock()
        for transaction in [each for each in self._active.values() if each.has_expired(now)]:
            self._end(transaction)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.expire()
            if len(self._ages) > 2 * len(self._active) + 10_000:
                recent = list(self._ages.items())[-10_000:]
                active = ((each.id, each.age) for each in self._active.values())
                self._ages = dict((*active, *recent))
