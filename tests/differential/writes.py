"""Steps that write, as a client writes them, and the strategies that make them."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud import firestore
from google.cloud.firestore_v1.bulk_batch import BulkWriteBatch
from google.cloud.firestore_v1.field_path import FieldPath
from hypothesis import strategies as st

from tests.differential.sides import Side
from tests.differential.values import COLLECTIONS, IDS, documents, names, resolve, transforms, values

DELETED = "deleted"  # stands for DELETE_FIELD, which prints as nothing one can read


@dataclass(frozen=True)
class Condition:
    """A precondition: the document is there or not, or its update time is what it is now, or something earlier."""

    kind: str

    def option(self, side: Side, path: str) -> Any:
        """Return the precondition as the client wants it."""
        if self.kind in ("exists", "missing"):
            return side.client.write_option(exists=self.kind == "exists")
        stored = side.client.document(path).get()
        moment = stored.update_time or datetime.datetime.now(datetime.UTC)
        earlier = datetime.timedelta(seconds=0 if self.kind == "current" else 3600)
        return side.client.write_option(last_update_time=moment - earlier)


@dataclass(frozen=True)
class Create:
    """Write a document that must not be there."""

    path: str
    fields: Mapping[str, Any]

    def add_to(self, writer: Any, side: Side) -> None:
        """Add the write to a batch or transaction."""
        writer.create(side.client.document(self.path), resolve(self.fields, side))


@dataclass(frozen=True)
class Set:
    """Replace a document, or merge all or some fields into it."""

    path: str
    fields: Mapping[str, Any]
    merge: bool | tuple[str, ...]

    def add_to(self, writer: Any, side: Side) -> None:
        """Add the write to a batch or transaction."""
        merge = [FieldPath(name).to_api_repr() for name in self.merge] if isinstance(self.merge, tuple) else self.merge
        writer.set(side.client.document(self.path), resolve(self.fields, side), merge=merge)


@dataclass(frozen=True)
class Update:
    """Change some fields, named by their paths."""

    path: str
    changes: Mapping[tuple[str, ...], Any]
    condition: Condition | None

    def add_to(self, writer: Any, side: Side) -> None:
        """Add the write to a batch or transaction."""
        changes = {
            FieldPath(*path).to_api_repr(): firestore.DELETE_FIELD if value == DELETED else resolve(value, side)
            for path, value in self.changes.items()
        }
        option = None if self.condition is None else self.condition.option(side, self.path)
        writer.update(side.client.document(self.path), changes, option=option)


@dataclass(frozen=True)
class Delete:
    """Delete a document."""

    path: str
    condition: Condition | None

    def add_to(self, writer: Any, side: Side) -> None:
        """Add the write to a batch or transaction."""
        option = None if self.condition is None else self.condition.option(side, self.path)
        writer.delete(side.client.document(self.path), option=option)


Write = Create | Set | Update | Delete


@dataclass(frozen=True)
class Commit:
    """Several writes, all or none."""

    writes: tuple[Write, ...]

    def __call__(self, side: Side) -> Any:
        """Commit, and return the results."""
        batch = side.client.batch()
        for write in self.writes:
            write.add_to(batch, side)
        results = batch.commit(retry=None, timeout=30)
        return [result for write, result in zip(self.writes, results, strict=True) if not isinstance(write, Delete)]


@dataclass(frozen=True)
class BatchWrite:
    """Several writes, each by itself."""

    writes: tuple[Write, ...]

    def __call__(self, side: Side) -> Any:
        """Send all writes and return result and status of each."""
        batch = BulkWriteBatch(side.client)
        for write in self.writes:
            write.add_to(batch, side)
        response = batch.commit(retry=None, timeout=30)
        side.take_as_one(result.update_time for result in response.write_results)
        return [response.write_results, [status.code for status in response.status]]


ids = st.sampled_from(IDS)
few_ids = st.sampled_from(("x", "y", "é"))
collections = st.sampled_from(COLLECTIONS)
paths = st.one_of(
    st.sampled_from(("a/x", "a/y", "b/x")),
    st.builds("a/{}".format, ids),
    st.builds("{}/{}/{}/{}".format, collections, few_ids, collections, ids),
)
written = st.dictionaries(names, st.one_of(values, values, transforms), max_size=4)
nested = st.one_of(written, st.dictionaries(names, written, max_size=2))
conditions = st.one_of(st.none(), st.sampled_from(("exists", "missing", "current", "stale")).map(Condition))
update_conditions = st.one_of(st.none(), st.sampled_from(("exists", "current", "stale")).map(Condition))
field_paths = st.lists(names, min_size=1, max_size=3).map(tuple)
changes = st.dictionaries(field_paths, st.one_of(values, transforms, st.just(DELETED)), min_size=1, max_size=4).filter(
    lambda changed: not any(path[:length] in changed for path in changed for length in range(len(path)))
)
writes = st.one_of(
    st.builds(Create, paths, nested),
    st.builds(Set, paths, nested, st.booleans()),
    st.builds(Set, paths, nested, st.lists(names, min_size=1, max_size=2, unique=True).map(tuple)),
    st.builds(Update, paths, changes, update_conditions),
    st.builds(Delete, paths, conditions),
)
commits = st.builds(Commit, st.lists(writes, min_size=1, max_size=4).map(tuple))
single = st.builds(Commit, st.tuples(writes))
batch_writes = st.builds(BatchWrite, st.lists(writes, min_size=1, max_size=4).map(tuple))
plain_sets = st.builds(Set, paths, documents, st.just(False))
