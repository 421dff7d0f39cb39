"""Commits of several writes with one commit time.

`commit` stores all writes or none. `batch_write` stores the writes independently of each other.

These functions run on the writer's thread. They check all writes on copies in memory before they write the first row.
A refused commit therefore leaves no rows in its group commit.

As in production, a write that changes nothing keeps the update time and creates no change.
"""

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

import grpc

from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.messages import CommitResponse, Document, microseconds, timestamp
from infra.embedded.firestore.storage.commit_group import CommitGroup
from infra.embedded.firestore.storage.versions import Change
from infra.embedded.firestore.writes.document_write import PreparedWrite
from infra.embedded.firestore.writes.pending_document import PendingDocument, serialize

ConflictCheck = Callable[[Collection[PendingDocument]], None]
"""Raises StatusError if a lock of another owner prevents changes of these documents."""

WriteOutcome = tuple[Any, None] | tuple[None, StatusError]
"""The WriteResult of a write and None, or None and the error of the write."""


def no_conflicts(pending: Collection[PendingDocument]) -> None:
    """Accept every change. Use this ConflictCheck for writes that ignore locks."""


def commit(group: CommitGroup, writes: list[PreparedWrite], check_conflicts: ConflictCheck) -> Any:
    """Store all writes and return the CommitResponse. If a write fails, raise StatusError and store nothing."""
    commit_time = group.next_commit_time()
    pending: dict[str, PendingDocument] = {}
    results = _apply(group, writes, pending, commit_time)
    check_conflicts(pending.values())
    for document in _changed_with_entries(group, pending.values()):
        _store(group, document, commit_time)
    _set_update_times(writes, pending, results)
    return CommitResponse(write_results=results, commit_time=timestamp(commit_time))


def batch_write(
    group: CommitGroup,
    writes: list[PreparedWrite],
    check_conflicts: ConflictCheck,
    max_bytes: float = math.inf,
    *,
    has_rate_limits: bool = True,
) -> list[WriteOutcome]:
    """Store the writes independently of each other, with one commit time. Return the outcome of each write.

    After writes to documents of more than `max_bytes` together, do not attempt the remaining writes.
    """
    commit_time = group.next_commit_time()
    outcomes: list[WriteOutcome] = []
    group.prefetch_absent((write.name, write.path) for write in writes)
    stored_bytes = 0
    for write in writes:
        if stored_bytes > max_bytes:
            break
        pending: dict[str, PendingDocument] = {}
        try:
            results = _apply(group, [write], pending, commit_time)
            check_conflicts(pending.values())
            changed = _changed_with_entries(group, pending.values(), has_rate_limits=has_rate_limits)
        except StatusError as error:
            outcomes.append((None, error.with_traceback(None)))  # a traceback would refer to the group
        else:
            for document in changed:
                _store(group, document, commit_time)
            _set_update_times([write], pending, results)
            outcomes.append((results[0], None))
        stored_bytes += sum(len(each.stored.document) for each in pending.values() if each.stored is not None)
    return outcomes


def delete(group: CommitGroup, deletions: list[PreparedWrite]) -> int:
    """Delete documents for the server itself, despite locks and rate limits. Return how many deletions succeeded."""
    outcomes = batch_write(group, deletions, no_conflicts, has_rate_limits=False)
    return sum(error is None for _, error in outcomes)


def restore(group: CommitGroup, documents: Iterable[PreparedWrite]) -> None:
    """Store documents with the create and update times that they contain. The update times must not decrease."""
    for write in documents:
        document = _load(group, write)
        document.new = write.update
        commit_time = group.restored_commit_time(microseconds(write.update.update_time))
        for changed in _changed_with_entries(group, [document]):
            _store(group, changed, commit_time)


def _apply(
    group: CommitGroup, writes: list[PreparedWrite], pending: dict[str, PendingDocument], commit_time: int
) -> list[Any]:
    """Apply writes in order to the documents in `pending`, and return the results. Load missing documents."""
    results = []
    for write in writes:
        document = pending.get(write.full_name)
        if document is None:
            pending[write.full_name] = document = _load(group, write)
        write.check_precondition(document.new, document.old, commit_time)
        document.new, result = write.apply(document.new, commit_time)
        results.append(result)
    return results


def _load(group: CommitGroup, write: PreparedWrite) -> PendingDocument:
    try:
        collection_number, stored = group.find(write.name, write.path)
    except StatusError as error:
        has_precondition = write.exists is not None or write.update_time is not None
        if error.code is not grpc.StatusCode.DATA_LOSS or not write.is_delete or has_precondition:
            raise
        return _load_damaged(group, write)
    old = None if stored is None else Document.FromString(stored.document)
    return PendingDocument(write.name, write.full_name, write.path, collection_number, stored, old, old)


def _load_damaged(group: CommitGroup, write: PreparedWrite) -> PendingDocument:
    """Return a damaged document. A delete without a precondition can remove it."""
    number, stored, entries = group.find_damaged(write.name, write.path)
    unknown = Document()
    return PendingDocument(write.name, write.full_name, write.path, number, stored, unknown, unknown, entries)


def _changed_with_entries(
    group: CommitGroup, pending: Iterable[PendingDocument], *, has_rate_limits: bool = True
) -> list[PendingDocument]:
    """Return the documents that change, after adding their index entries.

    Raise StatusError if a document has too many index entries or a rate limit is exceeded.
    """
    changed = [document for document in pending if document.is_changed]
    for document in changed:
        indexer = group.indexer(document.name.collection_id)
        document_id = document.name.segments[-1]
        if document.old is not None and not document.old_entries:
            document.old_entries = indexer.entries(document.path, document_id, document.old)
        if document.new is not None:
            document.new_entries = indexer.entries(document.path, document_id, document.new)
            indexer.check_entry_count(document.new, document.new_entries)
    if has_rate_limits and group.admission is not None:
        group.admission.admit(changed)
    return changed


def _store(group: CommitGroup, document: PendingDocument, commit_time: int) -> None:
    """Write the rows of a document that changed: its version, its index entries and the change."""
    collection_number = document.collection_number
    if collection_number is None:
        collection_number = group.collection_number(document.name)
    new = None if document.new is None else serialize(document.new)
    sequence = group.rows.add_version(collection_number, document.path, document.stored, new, commit_time)
    group.rows.replace_entries(collection_number, document.old_entries, document.new_entries)
    old = None if document.stored is None else document.stored.document
    group.changes.append(Change(sequence, commit_time, document.full_name, old, new))


def _set_update_times(writes: list[PreparedWrite], pending: dict[str, PendingDocument], results: list[Any]) -> None:
    for write, result in zip(writes, results, strict=True):
        document = pending[write.full_name]
        if not write.is_delete and document.new is not None:
            result.update_time.CopyFrom(document.new.update_time)
