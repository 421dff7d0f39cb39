"""Indexes are built in steps while the server runs, and a build continues after a crash."""

import contextlib
import re
import signal
import sqlite3
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.cloud.firestore import FieldFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.data_file import consistency, file_format
from infra.embedded.firestore.encoding import path_encoding
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.indexes import entries, index_builds
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import CompositeIndex, Definitions, IndexField
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.indexes.index_registry import IndexRegistry
from infra.embedded.firestore.queries import result_pages, structured_query
from infra.embedded.firestore.storage import index_builder
from infra.embedded.firestore.storage.row_buffer import RowBuffer
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.eventarc.machine import until
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, write_indexes
from tests.ports import free_port
from tests.stack import PATIENCE_SECONDS, eventually

ASCENDING, CONTAINS, COLLECTION, GROUP = "ASCENDING", "CONTAINS", "COLLECTION", "COLLECTION_GROUP"


def composite(*fields: str, scope: str = COLLECTION) -> CompositeIndex:
    """Return an index of the collection `t` with ascending fields."""
    return CompositeIndex("t", scope, tuple(IndexField((name,), ASCENDING) for name in fields))


composites = st.lists(
    st.sampled_from([composite("a", "b"), composite("b", "a"), composite("a", "b", scope=GROUP), composite("b", "m")]),
    unique=True,
)
modes = st.frozensets(st.tuples(st.sampled_from([ASCENDING, CONTAINS]), st.sampled_from([COLLECTION, GROUP])))
overrides = st.dictionaries(
    st.sampled_from([("t", ("a",)), ("t", ("m",)), ("t", ("m", "x")), ("t", ("*",)), ("u", ("a",))]), modes
)
all_definitions = st.builds(
    lambda indexes, fields, ttl: Definitions(tuple(indexes), field_overrides=fields, ttl_fields=ttl),
    composites,
    overrides,
    st.dictionaries(st.just("t"), st.sampled_from([("a",), ("m", "x")])),
)
values = st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=2), st.just({"x": 1}), st.just({"y": [2]}))
fields = st.none() | st.dictionaries(st.sampled_from("abm"), values)
writes = st.tuples(st.sampled_from(["t/1", "t/2", "t/3", "u/1", "u/1/t/2"]), fields)


def _message(value: Any) -> Any:
    if isinstance(value, dict):
        return m.Value(map_value=m.MapValue(fields={name: _message(each) for name, each in value.items()}))
    if isinstance(value, list):
        return m.Value(array_value=m.ArrayValue(values=[_message(each) for each in value]))
    return m.Value(integer_value=value)


class _File:
    """A data file in memory, as the writer uses it. Each step of a build is as small as possible."""

    def __init__(self, index_definitions: Definitions) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self._commit_times = count(1)
        file_format.prepare(self.connection, 0)
        self.restart(index_definitions)

    def restart(self, index_definitions: Definitions) -> None:
        """Open the file with definitions, as after a crash."""
        self.catalog, self.registry = Catalog(), IndexRegistry(index_definitions)
        self.catalog.load(self.connection)
        index_builds.apply_definitions(self.connection, self.catalog, self.registry, drop_undefined=True)

    def write(self, name: str, content: dict[str, Any] | None) -> None:
        """Replace or delete a document, and its index entries."""
        segments = tuple(name.split("/"))
        path = path_encoding.encode_path(segments)
        number = self.catalog.add(self.connection, DATABASE, segments[-2])
        rows, indexer = RowBuffer(self.connection, EntryTables(self.connection)), self.registry.indexer(segments[-2])
        stored = rows.current(number, path)
        new = None
        if content is not None:
            new = m.Document(name=f"{ROOT}/{name}", fields={key: _message(value) for key, value in content.items()})
        elif stored is None:
            return
        old_keys = {} if stored is None else indexer.entries(path, segments[-1], m.Document.FromString(stored.document))
        new_keys = {} if new is None else indexer.entries(path, segments[-1], new)
        rows.add_version(
            number, path, stored, None if new is None else new.SerializeToString(), next(self._commit_times)
        )
        rows.replace_entries(number, old_keys, new_keys)
        rows.flush()

    def step(self, collection_id: str) -> bool:
        """Do one step of a build. Return whether there was one to do."""
        target = index_builds.build_target(self.connection, collection_id)
        if target is None:
            return False
        if index_builds.advance(self.connection, self.catalog, self.registry, collection_id, -1) is None:
            assert index_builds.finish(self.connection, self.registry, collection_id, target)
        return True

    def check_complete_indexes(self) -> None:
        """Assert that the indexes that queries may use have exactly the entries of the stored documents."""
        for number, (_, collection_id) in self.catalog.names.items():
            indexer = self.registry.indexer(collection_id)
            expected: set[bytes] = set()
            sql = (
                "SELECT d.path, v.document FROM documents d JOIN versions v ON v.sequence = d.version "
                "WHERE d.collection_number = ?"
            )
            for path, raw in self.connection.execute(sql, (number,)):
                document_id = path_encoding.decode_path(path)[-1]
                expected |= indexer.entries(path, document_id, m.Document.FromString(raw)).keys()
            stored = {key for stored_number, key, _ in EntryTables(self.connection).rows() if stored_number == number}
            assert self._complete(collection_id, stored) == self._complete(collection_id, expected)

    def _complete(self, collection_id: str, keys: set[bytes]) -> set[bytes]:
        return {key for key in keys if self._is_complete(collection_id, key)}

    def _is_complete(self, collection_id: str, key: bytes) -> bool:
        prefix, readable = entries.index_prefix(key), self.registry.readable
        number = entries.composite_number(prefix)
        if number is not None:
            return number in readable.composite_indexes.values()
        path, kind = entries.field_of_prefix(prefix)
        definitions = readable.definitions, *readable.earlier.get(collection_id, ())
        return all(kind in each.entry_kinds(collection_id, path) for each in definitions)


@settings(max_examples=100, deadline=None)
@given(
    first=all_definitions,
    operations=st.lists(st.one_of(writes, st.sampled_from("tu"), all_definitions), max_size=40),
)
def test_complete_indexes_always_match_the_documents(first: Definitions, operations: list[Any]) -> None:
    """In any order of writes, steps, and restarts with other definitions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_builds, "DELETED_ENTRIES", 1)
        file = _File(first)
        for operation in operations:
            if isinstance(operation, Definitions):
                file.restart(operation)
            elif isinstance(operation, str):
                file.step(operation)
            else:
                file.write(*operation)
            file.check_complete_indexes()

        while file.step("t") or file.step("u"):
            file.check_complete_indexes()

        assert list(consistency.problems(file.connection)) == []
        assert file.registry.dropped == {}
        file.connection.close()


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_an_index_that_is_defined_again_before_its_entries_are_deleted_is_built_again(steps: int) -> None:
    """Its old entries do not match documents that changed in between."""
    exempted = Definitions((composite("b", "a"),), field_overrides={("t", ("a",)): frozenset()})
    file = _File(Definitions((composite("a", "b"),)))
    for number in range(3):
        file.write(f"t/{number}", {"a": 1, "b": 1})
    file.restart(exempted)
    for _ in range(steps):
        file.step("t")
    file.write("t/1", {"a": 2, "b": 2})
    file.restart(Definitions((composite("a", "b"),)))
    file.check_complete_indexes()

    while file.step("t"):
        file.check_complete_indexes()

    assert list(consistency.problems(file.connection)) == []


def test_a_step_of_a_build_has_a_limit_in_time() -> None:
    """A step with no time adds the entries of one document."""
    file = _File(Definitions())
    for number in range(5):
        file.write(f"t/{number}", {"a": number, "b": number})
    file.restart(Definitions((composite("a", "b"),)))

    steps = 0
    while file.step("t"):
        steps += 1

    assert steps > 5


async def _documents(storage: Storage, total: int) -> None:
    writes = [m.Write(update=m.Document(name=f"{ROOT}/t/{number}")) for number in range(total)]
    for write in writes:
        write.update.fields["a"].integer_value = write.update.fields["b"].integer_value = 1
    prepared = document_write.prepare_all(writes, DATABASE)
    await storage.write(lambda group: commits.batch_write(group, prepared, commits.no_conflicts))


def _query() -> structured_query.Query:
    query = m.StructuredQuery(from_=[m.StructuredQuery.CollectionSelector(collection_id="t")])
    for field in ("a", "b"):
        query.order_by.add().field.field_path = field
    return structured_query.read(ROOT, query)


@pytest.mark.anyio
async def test_a_query_is_refused_until_its_index_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in production, with FAILED_PRECONDITION. Reads, writes and other queries are served meanwhile."""
    monkeypatch.setattr(index_builder, "STEP_SECONDS", -1.0)  # one document in each step
    monkeypatch.setattr(index_builder, "BUSY_STEP_SECONDS", -1.0)
    storage = Storage(tmp_path / "data", definitions=Definitions(), creates_indexes=False)
    await _documents(storage, 300)
    await storage.close()

    storage = Storage(tmp_path / "data", definitions=Definitions((composite("a", "b"),)), creates_indexes=False)
    with pytest.raises(StatusError, match="That index is currently building and cannot be used yet") as refused:
        [each async for each in result_pages.stream(storage, _query(), storage.snapshot().read_time)]
    building = storage.index_builds["t"]
    await until(lambda: building.total > 0)
    await _documents(storage, 301)

    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert building.done < 300 == building.total
    await storage.wait_for_indexes("t")
    found = [each async for each in result_pages.stream(storage, _query(), storage.snapshot().read_time)]
    assert len(found) == 301
    assert storage.index_builds == {}
    await storage.close()


def _stored_position(data: Path) -> bytes:
    """Return the path of the last document of a running build whose entries are stored."""
    with contextlib.closing(sqlite3.connect(f"file:{data}?mode=ro", uri=True)) as connection:
        (position,) = connection.execute("SELECT position FROM index_builds").fetchone()
    return bytes(position)


def _is_after(position: bytes, data: Path) -> bool:
    return _stored_position(data) > position


def test_a_build_continues_after_kill_9(own: FirestoreProcess, tmp_path: Path) -> None:
    """In the end, all index entries match the documents."""
    own.start()
    for batch in range(40):
        writes = [m.Write(update=m.Document(name=f"{ROOT}/t/{batch}-{number}")) for number in range(500)]
        for number, write in enumerate(writes):
            for field in ("a", "b", "c", "d"):
                write.update.fields[field].integer_value = number
        own.call("BatchWrite", m.BatchWriteRequest(database=DATABASE, writes=writes), m.BatchWriteResponse)
    own.end()
    orders = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "d"), ("d", "a"), ("d", "b"), ("b", "c"), ("c", "b")]
    indexes = [
        {"collectionGroup": "t", "fields": [{"fieldPath": field, "order": ASCENDING} for field in order]}
        for order in orders
    ]
    path = write_indexes(tmp_path / "firestore.indexes.json", indexes, [])
    port = free_port()
    own.options = ["--indexes", str(path), "--http-port", str(port)]

    position = b""
    for _ in range(2):
        own.start("Building the indexes")
        eventually(partial(_is_after, position, own.data))
        own.end(signal.SIGKILL)
        position = _stored_position(own.data)
    own.start()
    own.client().document("t/after").set(dict.fromkeys("abcd", 1))

    (done,) = re.findall(r"group t: ([\d,]+) of 20,000", own.log.read_text())[:1]
    assert 0 < int(done.replace(",", "")) < 20_000, "the last start continues where the one before was killed"
    metrics = f"http://127.0.0.1:{port}/metrics"
    eventually(lambda: "\nfirestore_index_builds 0" in httpx.get(metrics, timeout=PATIENCE_SECONDS).text)
    command = [sys.executable, "-m", "infra.embedded.firestore.archive", "check", "--data", str(own.data)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (checked.stdout, checked.returncode) == ("", 0)
    query: Any = own.client().collection("t").where(filter=FieldFilter("d", ">=", 0)).order_by("d").order_by("b")
    assert query.count().get()[0][0].value == 20_001
    with contextlib.closing(sqlite3.connect(own.data)) as connection:
        assert connection.execute("SELECT count(*) FROM composites WHERE NOT complete").fetchone() == (0,)
