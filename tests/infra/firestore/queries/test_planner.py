"""A query finds the same documents through indexes as by comparing every document."""

import asyncio
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.definitions import CompositeIndex, Definitions, IndexField
from infra.embedded.firestore.indexes.index_registry import ReadableIndexes
from infra.embedded.firestore.queries import index_keys, planner, result_pages, structured_query
from infra.embedded.firestore.queries.counts import Counts
from infra.embedded.firestore.storage.commit_group import CommitGroup
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.random_documents import DATABASE

ROOT = f"{DATABASE}/documents"

_values = st.sampled_from(
    [
        m.Value(null_value=0),
        m.Value(integer_value=1),
        m.Value(integer_value=2),
        m.Value(double_value=1.5),
        m.Value(double_value=float("nan")),
        m.Value(double_value=1.7e308),
        m.Value(bytes_value=b"\xff"),
        m.Value(string_value=""),
        m.Value(string_value="x"),
        m.Value(string_value="y" * 1600 + "1"),
        m.Value(string_value="y" * 1600 + "2"),
        m.Value(array_value=m.ArrayValue(values=[m.Value(integer_value=1), m.Value(string_value="x")])),
        m.Value(map_value=m.MapValue(fields={"c": m.Value(integer_value=1)})),
        m.Value(map_value=m.MapValue(fields={"c": m.Value(integer_value=2)})),
    ]
)
_paths = st.sampled_from(
    [*(f"t/{number}" for number in range(6)), "t/1/t/0", "t/1/t/2", "s/1/t/0", "s/1/t/9", "s/0", "s/1", "t/__id3__"]
)
_documents = st.dictionaries(st.sampled_from(["a", "b", "d"]), _values, max_size=3)
_batches = st.lists(st.tuples(_paths, st.one_of(st.none(), _documents)), min_size=1, max_size=14)

_field = st.sampled_from(["a", "b", "d", "a.c"])
_comparisons = st.tuples(_field, st.sampled_from([1, 2, 3, 4, 5, 6, 7]), _values)
_list_conditions = st.tuples(_field, st.sampled_from([8, 9, 10]), st.lists(_values, min_size=1, max_size=3))
_conditions = st.one_of(_comparisons, _list_conditions)
_filters = st.one_of(
    st.none(),
    _conditions,
    st.lists(_conditions, min_size=2, max_size=3).map(lambda parts: (1, parts)),
    st.lists(_conditions, min_size=2, max_size=3).map(lambda parts: (2, parts)),
)
_orders = st.lists(st.tuples(st.sampled_from(["a", "b", "__name__"]), st.sampled_from([1, 2])), max_size=2)
_cursor = st.one_of(st.none(), st.tuples(_values, st.booleans()))


def _condition(condition: Any) -> Any:
    field, operator, value = condition
    message = m.StructuredQuery.Filter()
    message.field_filter.field.field_path = field
    message.field_filter.op = operator
    if isinstance(value, list):
        message.field_filter.value.array_value.values.extend(value)
    else:
        message.field_filter.value.CopyFrom(value)
    return message


def _query(selector: tuple[str, bool], where: Any, orders: Any, start: Any, end: Any, limit: Any, offset: int) -> Any:
    message = m.StructuredQuery(offset=offset)
    source = message.from_.add()
    source.collection_id, source.all_descendants = selector
    if where is not None and isinstance(where[0], int):
        message.where.composite_filter.op = where[0]
        message.where.composite_filter.filters.extend(map(_condition, where[1]))
    elif where is not None:
        message.where.CopyFrom(_condition(where))
    for field, direction in dict(orders).items():
        order = message.order_by.add()
        order.field.field_path, order.direction = field, direction
    if message.order_by and message.order_by[0].field.field_path != "__name__":
        for cursor, part in ((message.start_at, start), (message.end_at, end)):
            if part is not None:
                cursor.values.append(part[0])
                cursor.before = part[1]
    if limit is not None:
        message.limit.value = limit
    return message


async def _commit(storage: Storage, batch: Any) -> int:
    prepared = []
    for path, fields in dict(batch).items():
        name = f"{ROOT}/{path}"
        write = m.Write(delete=name) if fields is None else m.Write(update=m.Document(name=name, fields=fields))
        prepared.append(document_write.prepare(write, DATABASE))

    def work(group: CommitGroup) -> Any:
        return commits.commit(group, prepared, commits.no_conflicts)

    return m.microseconds((await storage.write(work)).commit_time)


def _expected(query: structured_query.Query, documents: dict[str, Any]) -> list[str]:
    found = []
    for path, fields in documents.items():
        name = resource_names.parse(f"{ROOT}/{path}")
        document = m.Document(name=str(name), fields=fields)
        key = query.matching_key(name.path, document) if query.covers(name) else None
        if key is not None:
            found.append((key, str(name)))
    last = None if query.limit is None else query.offset + query.limit
    return [name for _, name in sorted(found)][query.offset : last]


def _composite(scope: str, *components: str) -> CompositeIndex:
    modes = {"+": definitions.ASCENDING, "-": definitions.DESCENDING, "@": definitions.CONTAINS}
    return CompositeIndex("t", scope, tuple(IndexField((each[1:],), modes[each[0]]) for each in components))


_composite_fields = (
    ("+a", "+b"),
    ("+d", "+b"),
    ("-a", "-b"),
    ("-d", "-b"),
    ("+b", "+a"),
    ("@a", "+b"),
    ("+d", "@a"),
    ("+a", "+d", "+b"),
)
DEFINED = Definitions(
    tuple(_composite(scope, *each) for scope in ("COLLECTION", "COLLECTION_GROUP") for each in _composite_fields)
)


async def _check(batches: list[Any], message: Any, strict: bool) -> None:
    try:
        query = structured_query.read(ROOT, message)
    except StatusError:
        return
    with TemporaryDirectory() as folder:
        storage = Storage(Path(folder) / "data", definitions=DEFINED if strict else None, creates_indexes=not strict)
        counts = Counts(storage)
        try:
            if strict:
                planner.plan(query, [], storage.indexes)
            states: list[tuple[int, dict[str, Any]]] = []
            documents: dict[str, Any] = {}
            for batch in batches:
                commit_time = await _commit(storage, batch)
                documents = documents | dict(batch)
                documents = {path: fields for path, fields in documents.items() if fields is not None}
                states.append((commit_time, documents))
                await counts.count(query, commit_time)  # remembers the number
            for commit_time, state in states:
                found = [document.name async for _, document in result_pages.stream(storage, query, commit_time, 2)]
                assert found == _expected(query, state)
                with pytest.MonkeyPatch.context() as patch:  # a page ends at each place without a result
                    patch.setattr(result_pages, "MAX_SEARCH_SECONDS", 0.0)
                    patch.setattr(index_keys, "KEYS_PER_PLACE", 1)
                    in_parts = [each.name async for _, each in result_pages.stream(storage, query, commit_time)]
                assert in_parts == found
                assert await Counts(storage).count(query, commit_time) in (None, len(found))
                assert await counts.count(query, commit_time) in (None, len(found))
        except planner.MissingIndex:
            pass
        finally:
            await storage.close()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_batches, min_size=1, max_size=3),
    st.sampled_from([("t", False), ("t", False), ("t", True), ("s", False)]),
    _filters,
    _orders,
    _cursor,
    _cursor,
    st.one_of(st.none(), st.integers(0, 4)),
    st.integers(0, 2),
    st.booleans(),
)
def test_every_plan_finds_the_matching_documents(
    batches: Any, selector: Any, where: Any, orders: Any, start: Any, end: Any, limit: Any, offset: int, strict: bool
) -> None:
    """At each commit time; with filters, orders, cursors and limits; in collections and collection groups.

    Through indexes that are created for the query, or through defined indexes if they serve it.
    """
    message = _query(selector, where, orders, start, end, limit, offset)

    asyncio.run(_check(batches, message, strict))


class _PausedStorage(Storage):
    """A storage whose queries pause when they read the list of indexes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.paused, self.resume = threading.Event(), threading.Event()

    @property
    def indexes(self) -> ReadableIndexes:
        """The indexes at the end of the pause."""
        self.paused.set()
        assert self.resume.wait(60)
        return super().indexes


async def test_an_index_that_completes_while_a_query_starts_has_all_its_results(tmp_path: Path) -> None:
    """A query does not read a view of the file that is older than the index that it uses."""
    storage = _PausedStorage(tmp_path / "data")
    await _commit(storage, [("t/1", {"a": m.Value(integer_value=1), "b": m.Value(integer_value=1)})])
    query = structured_query.read(ROOT, _query(("t", False), None, [("a", 1), ("b", 1)], None, None, None, 0))

    async def run() -> list[str]:
        return [each.name async for _, each in result_pages.stream(storage, query, storage.snapshot().read_time)]

    running = asyncio.create_task(run())
    await asyncio.to_thread(storage.paused.wait)
    await storage.create_index(_composite("COLLECTION", "+a", "+b"))
    storage.resume.set()
    found = await running
    await storage.close()

    assert found == [f"{ROOT}/t/1"]
