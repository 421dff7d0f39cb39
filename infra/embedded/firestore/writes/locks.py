"""Who must wait for whom: what active transactions have read, and whose turn it is where they collide.

Locks here decide who waits, never what is right: a commit is checked against what its transaction read
in any case. So a wait may be cut short without harm, and is where it would be a deadlock. A commit that
must wait for readers stands first in line at the documents they read; who wants to read those in a
transaction queues behind it, oldest first, so that contenders take turns instead of aborting each other.

Registration happens on the event loop, the check for conflicts on the writer's thread.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc

from infra.embedded.firestore.errors import StatusError, aborted, invalid_argument
from infra.embedded.firestore.queries.structured_query import Query, SortKey
from infra.embedded.firestore.writes.pending_document import Pending

WAIT_SECONDS = 15.0
CONTENTION = "Too much contention on these documents. Please try again."
EXPIRED = "The referenced transaction has expired or is no longer valid."


class Party:
    """Somebody who may hold locks and wait: a transaction, or a commit without one."""

    def __init__(self, age: int) -> None:
        self.age = age
        self.ended = False
        self.released = asyncio.Event()
        self.documents: set[str] = set()
        self.waits_for: set[Party] = set()
        self.waiting: asyncio.Future[None] | None = None  # set while a commit of this party waits

    def check(self) -> None:
        """Raise if this party has ended: what it took now, nobody would release."""
        if self.ended:
            raise invalid_argument(EXPIRED)

    def reaches(self, other: "Party") -> bool:
        """Return whether this party waits, by however many steps, for `other`."""
        seen: set[Party] = set()
        waiting = [self]
        while waiting:
            party = waiting.pop()
            if party is other:
                return True
            if party not in seen:
                seen.add(party)
                waiting.extend(party.waits_for)
        return False


class Blocked(StatusError):
    """A commit that must wait for readers; `keys` say where."""

    def __init__(self, holders: set[Party], keys: set[str]) -> None:
        super().__init__(grpc.StatusCode.ABORTED, CONTENTION)
        self.holders = holders
        self.keys = keys


@dataclass(slots=True)
class _Line:
    """Where parties have collided: commits first, then one reader at a time."""

    commits: set[Party] = field(default_factory=set)
    reader: Party | None = None
    waiting: list[tuple[Party, asyncio.Future[None]]] = field(default_factory=list)

    def ahead_of(self, party: Party) -> set[Party]:
        """Return those whom a reader must let go first."""
        ahead = set(self.commits) if self.reader is None else self.commits | {self.reader}
        return ahead - {party}

    def dismiss(self, party: Party) -> None:
        """Send a reader away that has ended."""
        for entry in [entry for entry in self.waiting if entry[0] is party]:
            self.waiting.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)

    def move(self) -> None:
        """Let the oldest reader have its turn if nobody else has."""
        if not self.commits and self.reader is None and self.waiting:
            entry = min(self.waiting, key=lambda waiting: waiting[0].age)
            self.waiting.remove(entry)
            self.reader, turn = entry
            self.reader.waits_for = set()
            if not turn.done():
                turn.set_result(None)
        for party, _ in self.waiting:
            party.waits_for = self.ahead_of(party)


@dataclass(slots=True)
class QueryLock:
    """What a transaction has asked for; narrowed once it is known how far a limit reached."""

    query: Query
    party: Party

    def narrow(self, last_key: SortKey) -> None:
        """Forget what lies behind the last result."""
        self.query = self.query.until(last_key)


class Locks:
    """All locks of a server."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._documents: defaultdict[str, set[Party]] = defaultdict(set)
        self._queries: list[QueryLock] = []
        self._lines: dict[str, _Line] = {}

    async def share_document(self, party: Party, full_name: str) -> None:
        """Lock a document, there or not, against being written by others."""
        await self._queue(party, full_name)
        party.check()
        with self._guard:
            self._documents[full_name].add(party)
            party.documents.add(full_name)

    async def share_query(self, party: Party, query: Query) -> QueryLock:
        """Lock what a query finds, or would find, against being written by others."""
        await self._queue(party, _query_key(query))
        party.check()
        lock = QueryLock(query, party)
        with self._guard:
            self._queries.append(lock)
        return lock

    def check(self, committing: Party | None, documents: Iterable[Pending]) -> None:
        """Raise if another party has read what is about to change; for the writer's thread."""
        holders: set[Party] = set()
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
                    if lock.party is not committing and document.found_by(lock.query):
                        holders.add(lock.party)
                        keys.add(_query_key(lock.query))
        if holders:
            raise Blocked(holders, keys)

    async def wait(self, party: Party, blocked: Blocked) -> None:
        """Wait until one of those ends who block a commit, or raise if the commit should give up."""
        party.check()
        for key in blocked.keys:
            line = self._lines.setdefault(key, _Line())
            line.commits.add(party)
            line.move()
        holders = {holder for holder in blocked.holders if not holder.ended}
        if not holders:
            return
        party.waits_for = holders
        party.waiting = asyncio.get_running_loop().create_future()
        self._break_cycles(party)
        releases = [asyncio.create_task(holder.released.wait()) for holder in holders]
        waited: list[asyncio.Future[Any]] = [party.waiting, *releases]
        try:
            done, _ = await asyncio.wait(waited, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if party.waiting.done():
                party.waiting.result()
            if not done:
                raise aborted(CONTENTION)
        finally:
            party.waits_for = set()
            party.waiting.cancel()
            party.waiting = None
            for release in releases:
                release.cancel()

    def _break_cycles(self, party: Party) -> None:
        self._let_readers_pass(party)
        while any(holder.reaches(party) for holder in party.waits_for):
            rivals = [each for each in _cycle(party) if each.waiting is not None and not each.waiting.done()]
            victim = max(rivals, key=lambda each: each.age)
            if victim.waiting is not None:
                victim.waiting.set_exception(aborted(CONTENTION))
                victim.waiting.exception()  # if the victim is cancelled meanwhile, nobody else fetches it
            victim.waits_for = set()

    def _let_readers_pass(self, party: Party) -> None:
        """Let readers read out of turn if a commit waits for them: a queue must not make a deadlock."""
        members = _cycle(party)
        for line in self._lines.values():
            for entry in [entry for entry in line.waiting if entry[0] in members]:
                reader, turn = entry
                line.waiting.remove(entry)
                reader.waits_for = set()
                if not turn.done():
                    turn.set_result(None)

    async def _queue(self, party: Party, key: str) -> None:
        line = self._lines.get(key)
        if line is None or not (ahead := line.ahead_of(party)) or any(each.reaches(party) for each in ahead):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (party, turn)
        line.waiting.append(entry)
        party.waits_for = ahead
        try:
            await asyncio.wait([turn], timeout=WAIT_SECONDS)
        except asyncio.CancelledError:
            if line.reader is party:
                line.reader = None
            raise
        finally:
            party.waits_for = set()
            if entry in line.waiting:
                line.waiting.remove(entry)
            line.move()

    def release(self, party: Party) -> None:
        """Drop everything a party holds: it has ended."""
        if party.ended:
            return
        party.ended = True
        with self._guard:
            for full_name in party.documents:
                self._documents[full_name].discard(party)
                if not self._documents[full_name]:
                    del self._documents[full_name]
            self._queries = [lock for lock in self._queries if lock.party is not party]
        for key, line in list(self._lines.items()):
            line.commits.discard(party)
            line.dismiss(party)
            if line.reader is party:
                line.reader = None
            line.move()
            if not line.commits and line.reader is None and not line.waiting:
                del self._lines[key]
        party.released.set()


def _cycle(party: Party) -> set[Party]:
    """Return all who wait for `party` and are waited for by it."""
    members: set[Party] = {party}
    waiting = [party]
    while waiting:
        for holder in waiting.pop().waits_for:
            if holder not in members and holder.reaches(party):
                members.add(holder)
                waiting.append(holder)
    return members


def _query_key(query: Query) -> str:
    return f"{query.parent}/{query.collection_id or '*'}"
