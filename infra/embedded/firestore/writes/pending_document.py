"""A document between what is stored and what a commit will store.

Whoever may object to a commit, because of locks, rates or limits, looks at these before anything is written.
"""

from dataclasses import dataclass, field
from typing import Any

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.queries.structured_query import Query
from infra.embedded.firestore.storage.versions import Stored


@dataclass(slots=True)
class Pending:
    """A document that a commit is about to write."""

    name: resource_names.ResourceName
    full_name: str
    path: bytes
    collection_number: int | None
    stored: Stored | None
    old: Any | None
    new: Any | None
    old_entries: dict[bytes, int] = field(default_factory=dict)
    new_entries: dict[bytes, int] = field(default_factory=dict)

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


def serialize(document: Any) -> bytes:
    """Return the bytes of a document, the same for the same fields."""
    raw: bytes = document.SerializeToString(deterministic=True)
    return raw
