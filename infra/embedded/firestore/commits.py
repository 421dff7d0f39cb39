"""Several writes, one commit: all of them or none, at one commit time.

This runs on the writer's thread. Everything that can be refused is found out on copies in memory first;
only then are rows written, so that a refused commit leaves nothing behind in the group it was part of.
A write that changes nothing keeps the update time and makes no change, as in production.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from infra.embedded.firestore import names, versions
from infra.embedded.firestore.errors import Refusal
from infra.embedded.firestore.messages import (
    CommitResponse,
    Document,
    timestamp,
)
from infra.embedded.firestore.queries import Query
from infra.embedded.firestore.versions import Change, Stored
from infra.embedded.firestore.writer import Group
from infra.embedded.firestore.writes import PreparedWrite


@dataclass(slots=True)
class Pending:
    """A document that a commit is about to write."""

    name: names.Name
    full_name: str
    path: bytes
    kind: int | None
    stored: Stored | None
    old: Any | None
    new: Any | None

    @property
    def changed(self) -> bool:
        """Whether what will be stored differs from what is, apart from its update time."""
        if self.old is None or self.new is None:
            return self.old is not self.new
        moment = self.new.update_time.ToNanoseconds()
        self.new.update_time.CopyFrom(self.old.update_time)
        same = serialize(self.new) == serialize(self.old)
        if not same:
            self.new.update_time.FromNanoseconds(moment)
        return not same

    def found_by(self, query: Query) -> bool:
        """Return whether a query finds the document as it was, or as it will be."""
        return query.covers(self.name) and any(
            document is not None and query.place(self.path, document) is not None for document in (self.old, self.new)
        )


Check = Callable[[Collection[Pending]], None]


def serialize(document: Any) -> bytes:
    """Return the bytes of a document, the same for the same fields."""
    raw: bytes = document.SerializeToString(deterministic=True)
    return raw


def load(group: Group, write: PreparedWrite) -> Pending:
    """Return the current state of the document that a write is about."""
    kind = group.catalog.kind(write.name.database, write.name.collection_id)
    stored = None if kind is None else versions.current(group.connection, kind, write.path)
    old = None if stored is None else Document.FromString(stored.document)
    return Pending(write.name, write.full_name, write.path, kind, stored, old, old)


def apply(group: Group, writes: list[PreparedWrite], pending: dict[str, Pending], commit_time: int) -> list[Any]:
    """Apply writes in their order to what is `pending`, and return their results."""
    results = []
    for write in writes:
        document = pending.get(write.full_name)
        if document is None:
            pending[write.full_name] = document = load(group, write)
        write.check_precondition(document.new, commit_time)
        document.new, result = write.apply(document.new, commit_time)
        results.append(result)
    return results


def store(group: Group, document: Pending, commit_time: int) -> None:
    """Write the rows of a document that changed."""
    kind = document.kind
    if kind is None:
        kind = group.catalog.intern_kind(group.connection, document.name.database, document.name.collection_id)
    new = None if document.new is None else serialize(document.new)
    sequence = versions.add(group.connection, kind, document.path, document.stored, new, commit_time)
    old = None if document.stored is None else document.stored.document
    group.changes.append(Change(sequence, commit_time, document.full_name, old, new))


def commit(group: Group, writes: list[PreparedWrite], check: Check) -> Any:
    """Commit all writes, or raise having done nothing; `check` may object once it is known what changes."""
    commit_time = group.next_commit_time()
    pending: dict[str, Pending] = {}
    results = apply(group, writes, pending, commit_time)
    check(pending.values())
    finish(group, writes, pending, results, commit_time)
    return CommitResponse(write_results=results, commit_time=timestamp(commit_time))


def finish(
    group: Group, writes: list[PreparedWrite], pending: dict[str, Pending], results: list[Any], commit_time: int
) -> None:
    """Store what changed and complete the results with their update times."""
    for document in pending.values():
        if document.changed:
            store(group, document, commit_time)
    for write, result in zip(writes, results, strict=True):
        document = pending[write.full_name]
        if not write.deletes and document.new is not None:
            result.update_time.CopyFrom(document.new.update_time)


def batch(group: Group, writes: list[PreparedWrite], check: Check) -> list[tuple[Any, None] | tuple[None, Refusal]]:
    """Commit each write by itself, at one commit time, and return result or refusal of each."""
    commit_time = group.next_commit_time()
    outcomes: list[tuple[Any, None] | tuple[None, Refusal]] = []
    for write in writes:
        try:
            pending: dict[str, Pending] = {}
            results = apply(group, [write], pending, commit_time)
            check(pending.values())
        except Refusal as refusal:
            outcomes.append((None, refusal))
        else:
            finish(group, [write], pending, results, commit_time)
            outcomes.append((results[0], None))
    return outcomes
