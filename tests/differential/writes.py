"""Writes of Google's client as steps, and the strategies that generate them."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud import firestore
from google.cloud.firestore_v1.bulk_batch import BulkWriteBatch
from google.cloud.firestore_v1.field_path import FieldPath
from hypothesis import strategies as st

from tests.differential.compared_servers import ComparedServer
from tests.differential.values import COLLECTIONS, IDS, names, resolve, transforms, values

DELETED = "deleted"  # stands for DELETE_FIELD, whose printed form is not readable


@dataclass(frozen=True)
class Condition:
    """A precondition: `exists`, `missing`, `current` (the stored update time) or `stale` (an earlier one)."""

    kind: str

    def option(self, server: ComparedServer, path: str) -> Any:
        """Return the precondition as an object of the client."""
        if self.kind in ("exists", "missing"):
            return server.client.write_option(exists=self.kind == "exists")
        stored = server.client.document(path).get()
        update_time = stored.update_time or datetime.datetime.now(datetime.UTC)
        age = datetime.timedelta(seconds=0 if self.kind == "current" else 3600)
        return server.client.write_option(last_update_time=update_time - age)


@dataclass(frozen=True)
class Create:
    """Create a document that must not exist."""

    path: str
    fields: Mapping[str, Any]

    def add_to(self, writer: Any, server: ComparedServer) -> None:
        """Add the write to a batch or transaction."""
        writer.create(server.client.document(self.path), resolve(self.fields, server))


@dataclass(frozen=True)
class Set:
    """Replace a document, or merge all fields or the named fields into it."""

    path: str
    fields: Mapping[str, Any]
    merge: bool | tuple[str, ...]

    def add_to(self, writer: Any, server: ComparedServer) -> None:
        """Add the write to a batch or transaction."""
        merge = [FieldPath(name).to_api_repr() for name in self.merge] if isinstance(self.merge, tuple) else self.merge
        writer.set(server.client.document(self.path), resolve(self.fields, server), merge=merge)


@dataclass(frozen=True)
class Update:
    """Change the fields at some paths."""

    path: str
    changes: Mapping[tuple[str, ...], Any]
    condition: Condition | None

    def add_to(self, writer: Any, server: ComparedServer) -> None:
        """Add the write to a batch or transaction."""
        changes = {
            FieldPath(*path).to_api_repr(): firestore.DELETE_FIELD if value == DELETED else resolve(value, server)
            for path, value in self.changes.items()
        }
        option = None if self.condition is None else self.condition.option(server, self.path)
        writer.update(server.client.document(self.path), changes, option=option)


@dataclass(frozen=True)
class Delete:
    """Delete a document."""

    path: str
    condition: Condition | None

    def add_to(self, writer: Any, server: ComparedServer) -> None:
        """Add the write to a batch or transaction."""
        option = None if self.condition is None else self.condition.option(server, self.path)
        writer.delete(server.client.document(self.path), option=option)


Write = Create | Set | Update | Delete


@dataclass(frozen=True)
class Commit:
    """Several writes of which all are stored, or none."""

    writes: tuple[Write, ...]

    def __call__(self, server: ComparedServer) -> Any:
        """Commit the writes and return the results of those that are not deletes."""
        batch = server.client.batch()
        for write in self.writes:
            write.add_to(batch, server)
        results = batch.commit(retry=None, timeout=30)
        return [result for write, result in zip(self.writes, results, strict=True) if not isinstance(write, Delete)]


@dataclass(frozen=True)
class BatchWrite:
    """Several writes that are stored independently."""

    writes: tuple[Write, ...]

    def __call__(self, server: ComparedServer) -> Any:
        """Send the writes and return results and status codes."""
        batch = BulkWriteBatch(server.client)
        for write in self.writes:
            write.add_to(batch, server)
        response = batch.commit(retry=None, timeout=30)
        server.merge_commit_times(result.update_time for result in response.write_results)
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
