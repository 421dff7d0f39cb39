"""Locks of active transactions on the documents and queries that they have read.

Locks only determine which owner waits. Correctness does not depend on locks, because each commit is validated against
the reads of its transaction. A wait can therefore end early, for example to break a deadlock.

A commit that waits for readers is first in the queue of each document that these readers have locked. A transaction
that then reads such a document waits in the queue after the commit. The oldest waiting transaction continues first. The
transactions therefore take turns instead of aborting.

Locks are acquired on the event loop and checked on the writer's thread.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc

from infra.embedded.firestore.errors import StatusError, aborted
from infra.embedded.firestore.queries.sort_order import SortKey
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.writes.lock_queue import LockOwner, LockQueue
from infra.embedded.firestore.writes.pending_document import PendingDocument

MAX_WAIT_SECONDS = 15.0
CONTENTION = "Too much contention on these documents. Please try again."


class BlockedByLocks(StatusError):
    """A commit that must wait for `holders`, which have read the documents and queries in `keys`."""

    def __init__(self, holders: set[LockOwner], keys: set[str]) -> None:
        super().__init__(grpc.StatusCode.ABORTED, CONTENTION)
        self.holders = holders
        self.keys = keys


@dataclass(slots=True)
class QueryLock:
    """A lock on all documents that match a query now or later."""

    query: Query
    owner: LockOwner

    def narrow(self, last_key: SortKey) -> None:
        """Restrict the lock to keys up to the last result, because the limit of the query excludes later keys."""
        self.query = self.query.ending_at(last_key)


class Locks:
    """All locks of a server."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._documents: defaultdict[str, set[LockOwner]] = defaultdict(set)
        self._queries: list[QueryLock] = []
        self._queues: dict[str, LockQueue] = {}

    async def lock_document(self, owner: LockOwner, full_name: str) -> None:
        """Lock a document, whether or not it exists, against writes of other owners. Wait in the queue if needed."""
        await self._wait_for_turn(owner, full_name)
        owner.check_active()
        with self._guard:
            self._documents[full_name].add(owner)
            owner.documents.add(full_name)

    async def lock_query(self, owner: LockOwner, query: Query) -> QueryLock:
        """Lock all documents that match a query, now or later, against writes of other owners."""
        await self._wait_for_turn(owner, _query_key(query))
        owner.check_active()
        lock = QueryLock(query, owner)
        with self._guard:
            self._queries.append(lock)
        return lock

    def check(self, committing: LockOwner | None, documents: Iterable[PendingDocument]) -> None:
        """Raise BlockedByLocks if another owner has locked one of `documents`. Call this on the writer's thread."""
        holders: set[LockOwner] = set()
        keys: set[str] = set()
        with self._guard:
            if not self._documents and not self._queries:
                return
            for document in documents:
                readers = self._documents.get(document.full_name, set()) - {committing}
                if readers:
                    holders |= readers
                    keys.add(document.full_name)
                for lock in self._queries:
                    if lock.owner is not committing and document.matches(lock.query):
                        holders.add(lock.owner)
                        keys.add(_query_key(lock.query))
        if holders:
            raise BlockedByLocks(holders, keys)

    async def wait_for_holder(self, owner: LockOwner, blocked: BlockedByLocks) -> None:
        """Wait until one holder releases its locks.

        Raise ABORTED after MAX_WAIT_SECONDS, or if this commit is aborted to break a deadlock.
        """
        owner.check_active()
        for key in blocked.keys:
            queue = self._queues.setdefault(key, LockQueue())
            queue.commits.add(owner)
            queue.advance()
        holders = {holder for holder in blocked.holders if not holder.is_released}
        if not holders:
            return
        owner.waits_for = holders
        owner.waiting = asyncio.get_running_loop().create_future()
        self._break_deadlocks(owner)
        releases = [asyncio.create_task(holder.released.wait()) for holder in holders]
        waited: list[asyncio.Future[Any]] = [owner.waiting, *releases]
        try:
            done, _ = await asyncio.wait(waited, timeout=MAX_WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if owner.waiting.done():
                owner.waiting.result()
            if not done:
                raise aborted(CONTENTION)
        finally:
            owner.waits_for = set()
            owner.waiting.cancel()
            owner.waiting = None
            for release in releases:
                release.cancel()

    def _break_deadlocks(self, owner: LockOwner) -> None:
        """Abort the youngest waiting commit of each deadlock that contains `owner`."""
        self._wake_deadlocked_readers(owner)
        while any(holder.is_blocked_by(owner) for holder in owner.waits_for):
            waiting = [each for each in owner.deadlocked_with() if each.waiting is not None and not each.waiting.done()]
            victim = max(waiting, key=lambda each: each.age)
            if victim.waiting is not None:
                victim.waiting.set_exception(aborted(CONTENTION))
                victim.waiting.exception()  # prevents a warning if the victim is cancelled before it awaits
            victim.waits_for = set()

    def _wake_deadlocked_readers(self, owner: LockOwner) -> None:
        """Let readers that are in a deadlock with `owner` read out of turn, because only the queue blocks them."""
        members = owner.deadlocked_with()
        for queue in self._queues.values():
            for reader in queue.wake(members):
                reader.waits_for = set()

    async def _wait_for_turn(self, owner: LockOwner, key: str) -> None:
        """Queue a reader after the commits that wait for `key`. Return at once if waiting would cause a deadlock."""
        queue = self._queues.get(key)
        if queue is None:
            return
        ahead = queue.ahead_of(owner)
        if not ahead or any(each.is_blocked_by(owner) for each in ahead):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (owner, turn)
        queue.waiting_readers.append(entry)
        owner.waits_for = ahead
        try:
            await asyncio.wait([turn], timeout=MAX_WAIT_SECONDS)
        except asyncio.CancelledError:
            if queue.reader is owner:
                queue.reader = None
            raise
        finally:
            owner.waits_for = set()
            if entry in queue.waiting_readers:
                queue.waiting_readers.remove(entry)
            queue.advance()

    def release(self, owner: LockOwner) -> None:
        """Release all locks of an owner. The owner cannot acquire locks afterwards."""
        if owner.is_released:
            return
        owner.is_released = True
        with self._guard:
            for full_name in owner.documents:
                self._documents[full_name].discard(owner)
                if not self._documents[full_name]:
                    del self._documents[full_name]
            self._queries = [lock for lock in self._queries if lock.owner is not owner]
        for key, queue in list(self._queues.items()):
            queue.remove(owner)
            queue.advance()
            if queue.is_empty:
                del self._queues[key]
        owner.released.set()


def _query_key(query: Query) -> str:
    return f"{query.parent}/{query.collection_id or '*'}"
