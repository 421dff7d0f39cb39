"""A page ends if the search for its next result takes long, and no result is lost then."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import checksums
from infra.embedded.firestore.queries import index_keys, result_pages, scanner, structured_query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.queries.cases import ROOT, Case, commit, count_reads


@pytest.fixture
async def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Storage]:
    """A new file. Each search takes too long."""
    monkeypatch.setattr(result_pages, "MAX_SEARCH_SECONDS", 0.0)
    monkeypatch.setattr(index_keys, "KEYS_PER_PLACE", 10)
    monkeypatch.setattr(scanner, "DOCUMENTS_PER_PLACE", 10)
    storage = Storage(tmp_path / "data")
    yield storage
    await storage.close()


def by_b(case: Case) -> structured_query.Query:
    """Return the query of a case in the order of `b` and `c`, which an index serves."""
    message = m.StructuredQuery()
    message.from_.add(collection_id="t")
    message.where.composite_filter.op = 1  # AND
    for field, operator, value in (("a", 5, 1), ("b", 4, case.lower), ("c", 2, case.upper)):  # ==, >=, <=
        condition = message.where.composite_filter.filters.add().field_filter
        condition.field.field_path, condition.op, condition.value.integer_value = field, operator, value
    for field in ("b", "c"):
        message.order_by.add(direction=1).field.field_path = field
    return structured_query.read(ROOT, message)


async def store(storage: Storage, count: int, **fields: int) -> int:
    """Store documents with a number in `b`. Return the commit time."""
    return await commit(storage, {f"t/{number}": {"a": 1, "b": number, **fields} for number in range(count)})


async def test_earlier_versions_with_the_same_place_are_found(storage: Storage) -> None:
    """A changed document has its old place in the order, so its earlier version follows that place."""
    time = await store(storage, 100, c=1, d=1)
    await store(storage, 100, c=1, d=2)

    found = [each async for _, each in result_pages.stream(storage, by_b(Case(upper=1)), time)]

    assert [(each.fields["b"].integer_value, each.fields["d"].integer_value) for each in found] == [
        (number, 1) for number in range(100)
    ]


@pytest.mark.parametrize("offset", range(6))
async def test_an_offset_can_end_on_any_page(storage: Storage, offset: int) -> None:
    """The documents that it skips do not count towards the limit."""
    time = await store(storage, 6, c=1)
    query = replace(by_b(Case(upper=1)), offset=offset, limit=2)

    found = [each.fields["b"].integer_value async for _, each in result_pages.stream(storage, query, time, 2)]

    assert found == list(range(6))[offset : offset + 2]


@pytest.mark.parametrize(("page_bytes", "expected"), [(result_pages.PAGE_BYTES, 70), (0, 1)])
async def test_a_page_reads_only_its_own_documents(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, page_bytes: int, expected: int
) -> None:
    """Documents are read together, but none after the last one of a page: each can have a MiB."""
    monkeypatch.setattr(result_pages, "PAGE_BYTES", page_bytes)
    time, read = await store(storage, 200, c=1), list[bytes]()

    def matches(document: bytes, sequence: int, checksum: int | None) -> bool:
        read.append(document)
        return checksums.matches(document, sequence, checksum)

    monkeypatch.setattr(versions, "checksums", SimpleNamespace(matches=matches))
    page = await anext(result_pages.pages(storage, by_b(Case(upper=1)), time, 70))

    documents = [m.Document.FromString(document) for _, document in page]
    assert [each.fields["b"].integer_value for each in documents] == [*range(expected)]
    assert len(read) == expected


async def test_a_search_without_a_result_is_divided_into_short_reads(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write-ahead log can restart between two of them. The search ends at about 40 random places."""
    time = await store(storage, 400, c=1)
    query = by_b(Case(upper=0))
    assert [each async for each in result_pages.stream(storage, query, time)] == []  # creates the index
    reads = count_reads(storage, monkeypatch)

    assert [each async for each in result_pages.stream(storage, query, time)] == []
    assert len(reads) > 5


def query(conditions: Sequence[tuple[str, int, int]], orders: Sequence[tuple[str, int]]) -> structured_query.Query:
    """Return a query with conditions (a field, an operator and a value) and orders (a field and a direction)."""
    message = m.StructuredQuery()
    message.from_.add(collection_id="t")
    for field, operator, value in conditions:
        message.where.composite_filter.op = 1  # AND
        condition = message.where.composite_filter.filters.add().field_filter
        condition.field.field_path, condition.op, condition.value.integer_value = field, operator, value
    for field, direction in orders:
        message.order_by.add(direction=direction).field.field_path = field
    return structured_query.read(ROOT, message)


@pytest.mark.parametrize(
    ("conditions", "orders"),
    [
        ([("a", 5, 0), ("b", 5, 1)], []),
        ([("a", 5, 0), ("b", 5, 1)], [("b", 1)]),
        ([("c", 4, 0), ("a", 3, 5)], [("c", 1), ("a", 2)]),
    ],
    ids=["two intersected indexes", "an order by an equality field", "two directions"],
)
async def test_a_search_that_keys_do_not_decide_is_divided_into_short_reads(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, conditions: Any, orders: Any
) -> None:
    """The search reads the keys of two indexes in turn, or documents. Only the last document matches."""
    documents = {f"t/{number:03}": {"a": number % 2, "b": 2 - number % 2, "c": number} for number in range(200)}
    time = await commit(storage, {**documents, "t/last": {"a": 6 if orders[1:] else 0, "b": 1, "c": 200}})
    searched = query(conditions, orders)
    assert len([each async for each in result_pages.stream(storage, searched, time)]) == 1  # creates the index
    reads = count_reads(storage, monkeypatch)

    names = [each.name async for _, each in result_pages.stream(storage, searched, time)]

    assert names == [f"{ROOT}/t/last"]
    assert len(reads) > 5


async def test_documents_of_nested_collections_do_not_end_a_search(storage: Storage) -> None:
    """The scan finds them first, although their place in the order of the query would be last."""
    nested = {f"t/x/t/{number}": {"a": 1, "c": -1} for number in range(20)}
    time = await commit(storage, {**nested, **{f"t/{number:03}": {"a": 1, "c": number} for number in range(50)}})

    found = [each async for _, each in result_pages.stream(storage, query([], [("c", 2), ("a", 1)]), time)]

    assert [each.fields["c"].integer_value for each in found] == list(reversed(range(50)))
