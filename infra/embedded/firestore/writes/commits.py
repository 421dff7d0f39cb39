"""Several writes, one commit: all of them or none, at one commit time.

This runs on the writer's thread. Everything that can be refused is found out on copies in memory first;
only then are rows written, so that a refused commit leaves nothing behind in the group it was part of.
A write that changes nothing keeps the update time and makes no change, as in production.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.messages import CommitResponse, Document, timestamp
from infra.embedded.firestore.storage.versions import Change
from infra.embedded.firestore.storage.writer import Group
from infra.embedded.firestore.writes.document_write import PreparedWrite
from infra.embedded.firestore.writes.pending_document import Pending, serialize

Check = Callable[[Collection[Pending]], None]


def load(group: Group, write: PreparedWrite) -> Pending:
    """Return the current state of the document that a write is about."""
    collection_number, stored = group.find(write.name, write.path)
    old = None if stored is None else Document.FromString(stored.document)
    return Pending(write.name, write.full_name, write.path, collection_number, stored, old, old)


def apply(group: Group, writes: list[PreparedWrite], pending: dict[str, Pending], commit_time: int) -> list[Any]:
    """Apply writes in their order to what is `pending`, and return their results."""
    results = []
    for write in writes:
        document = pending.get(write.full_name)
        if document is None:
            pending[write.full_name] = document = load(group, write)
        write.check_precondition(document.new, document.old, commit_time)
        document.new, result = write.apply(document.new, commit_time)
        results.append(result)
    return results


def store(group: Group, document: Pending, commit_time: int) -> None:
    """Write the rows of a document that changed: version, index entries, change."""
    collection_number = (
        group.collection_number(document.name) if document.collection_number is None else document.collection_number
    )
    new = None if document.new is None else serialize(document.new)
    sequence = group.rows.add(collection_number, document.path, document.stored, new, commit_time)
    group.rows.index(collection_number, document.old_entries, document.new_entries)
    old = None if document.stored is None else document.stored.document
    group.changes.append(Change(sequence, commit_time, document.full_name, old, new))


def index(group: Group, pending: Iterable[Pending]) -> list[Pending]:
    """Work out the index entries of what changed, and return that; raises if there are too many, or too fast."""
    changed = [document for document in pending if document.changed]
    for document in changed:
        indexing = group.indexing(document.name.collection_id)
        document_id = document.name.segments[-1]
        if document.old is not None:
            document.old_entries = indexing.entries(document.path, document_id, document.old)
        if document.new is not None:
            document.new_entries = indexing.entries(document.path, document_id, document.new)
            indexing.check(document.new, document.new_entries)
    if group.admission is not None:
        group.admission.admit(changed)
    return changed


def commit(group: Group, writes: list[PreparedWrite], check: Check) -> Any:
    """Commit all writes, or raise having done nothing; `check` may object once it is known what changes."""
    commit_time = group.next_commit_time()
    pending: dict[str, Pending] = {}
    results = apply(group, writes, pending, commit_time)
    check(pending.values())
    for document in index(group, pending.values()):
        store(group, document, commit_time)
    finish(writes, pending, results)
    return CommitResponse(write_results=results, commit_time=timestamp(commit_time))


def finish(writes: list[PreparedWrite], pending: dict[str, Pending], results: list[Any]) -> None:
    """Complete the results with the update times of the documents."""
    for write, result in zip(writes, results, strict=True):
        document = pending[write.full_name]
        if not write.deletes and document.new is not None:
            result.update_time.CopyFrom(document.new.update_time)


def batch(group: Group, writes: list[PreparedWrite], check: Check) -> list[tuple[Any, None] | tuple[None, StatusError]]:
    """Commit each write by itself, at one commit time, and return result or refusal of each."""
    commit_time = group.next_commit_time()
    outcomes: list[tuple[Any, None] | tuple[None, StatusError]] = []
    group.look_up((write.name, write.path) for write in writes)
    for write in writes:
        try:
            pending: dict[str, Pending] = {}
            results = apply(group, [write], pending, commit_time)
            check(pending.values())
            changed = index(group, pending.values())
        except StatusError as refusal:
            outcomes.append((None, refusal))
        else:
            for document in changed:
                store(group, document, commit_time)
            finish([write], pending, results)
            outcomes.append((results[0], None))
    return outcomes
