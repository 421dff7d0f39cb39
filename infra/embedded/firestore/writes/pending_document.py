"""A document in a commit that is being checked: the stored version and the new version.

Locks, rate limits and index limits are checked with pending documents before the commit writes a row.
"""

from dataclasses import dataclass, field

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage.versions import DocumentVersion


@dataclass(slots=True)
class PendingDocument:
    """A document that a commit is about to write."""

    name: resource_names.ResourceName
    full_name: str
    path: bytes
    collection_number: int | None
    stored: DocumentVersion | None
    old: Document | None
    new: Document | None
    old_entries: dict[bytes, int] = field(default_factory=dict)
    new_entries: dict[bytes, int] = field(default_factory=dict)

    @property
    def is_changed(self) -> bool:
        """Whether the new document differs from the stored document, apart from the update time.

        If only the update time differs, set the new update time to the stored update time.
        """
        if self.old is None or self.new is None:
            return self.old is not self.new
        update_time = self.new.update_time.ToNanoseconds()
        self.new.update_time.CopyFrom(self.old.update_time)
        is_same = serialize(self.new) == serialize(self.old)
        if not is_same:
            self.new.update_time.FromNanoseconds(update_time)
        return not is_same

    def matches(self, query: Query) -> bool:
        """Return whether a query matches the document before or after the commit."""
        return query.covers(self.name) and any(
            document is not None and query.matching_key(self.path, document) is not None
            for document in (self.old, self.new)
        )


def serialize(document: Document) -> bytes:
    """Serialize a document. Equal documents have equal bytes."""
    raw: bytes = document.SerializeToString(deterministic=True)
    return raw
