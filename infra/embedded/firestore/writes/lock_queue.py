"""Lock owners, and the queue in which owners wait for one document or query.

This module runs on the event loop.
"""

import asyncio
from dataclasses import dataclass, field

from infra.embedded.firestore.errors import invalid_argument

EXPIRED = "The referenced transaction has expired or is no longer valid."


class LockOwner:
    """A transaction, or a commit outside of a transaction, that may hold locks and wait for other owners.

    An owner with a smaller `age` is older. A retried transaction keeps the age of its first attempt.
    """

    def __init__(self, age: int) -> None:
        self.age = age
        self.is_released = False
        self.released = asyncio.Event()
        self.documents: set[str] = set()
        self.waits_for: set[LockOwner] = set()
        self.waiting: asyncio.Future[None] | None = None  # set while a commit of this owner waits

    def check_active(self) -> None:
        """Raise StatusError if this owner has ended, because its new locks would never be released."""
        if self.is_released:
            raise invalid_argument(EXPIRED)

    def is_blocked_by(self, other: "LockOwner") -> bool:
        """Return whether this owner waits for `other`, directly or through other owners."""
        visited: set[LockOwner] = set()
        pending = [self]
        while pending:
            owner = pending.pop()
            if owner is other:
                return True
            if owner not in visited:
                visited.add(owner)
                pending.extend(owner.waits_for)
        return False

    def deadlocked_with(self) -> set["LockOwner"]:
        """Return this owner and all owners that both block this owner and are blocked by it."""
        members: set[LockOwner] = {self}
        pending: list[LockOwner] = [self]
        while pending:
            for holder in pending.pop().waits_for:
                if holder not in members and holder.is_blocked_by(self):
                    members.add(holder)
                    pending.append(holder)
        return members


@dataclass(slots=True)
class LockQueue:
    """The owners that compete for one document or query. Waiting commits come first, then one reader at a time."""

    commits: set[LockOwner] = field(default_factory=set)
    reader: LockOwner | None = None
    waiting_readers: list[tuple[LockOwner, asyncio.Future[None]]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether the queue has no owners."""
        return not self.commits and self.reader is None and not self.waiting_readers

    def ahead_of(self, owner: LockOwner) -> set[LockOwner]:
        """Return the other owners that come before the reader `owner`."""
        ahead = set(self.commits) if self.reader is None else self.commits | {self.reader}
        return ahead - {owner}

    def remove(self, owner: LockOwner) -> None:
        """Remove an owner that has ended. If the owner waits, let it continue."""
        self.commits.discard(owner)
        self.wake({owner})
        if self.reader is owner:
            self.reader = None

    def wake(self, owners: set[LockOwner]) -> list[LockOwner]:
        """Let the waiting readers among `owners` continue out of turn, and return these readers."""
        woken = [entry for entry in self.waiting_readers if entry[0] in owners]
        for entry in woken:
            self.waiting_readers.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)
        return [reader for reader, _ in woken]

    def advance(self) -> None:
        """Let the oldest waiting reader continue if no commit and no other reader is ahead of it."""
        if not self.commits and self.reader is None and self.waiting_readers:
            entry = min(self.waiting_readers, key=lambda waiting: waiting[0].age)
            self.waiting_readers.remove(entry)
            self.reader, turn = entry
            self.reader.waits_for = set()
            if not turn.done():
                turn.set_result(None)
        for owner, _ in self.waiting_readers:
            owner.waits_for = self.ahead_of(owner)
