"""A query whose filters select few documents finds them with an index that starts with a filtered field."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.indexes.definitions import ASCENDING, DESCENDING, CompositeIndex, Definitions, IndexField
from infra.embedded.firestore.queries import index_keys, result_pages, scanner, structured_query
from infra.embedded.firestore.queries.index_keys import KeyFilter
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.queries.cases import ROOT, commit

FIELDS = ("b", "c", "d")
OPERATORS = {"<": 1, "<=": 2, ">": 3, ">=": 4}


def index(mode: str, *fields: str) -> CompositeIndex:
    """Return an index of the documents with a given `a`, with the other fields in one direction."""
    return CompositeIndex("t", "COLLECTION", tuple(IndexField((each,), mode) for each in ("a", *fields)))


DEFINED = Definitions(
    tuple(
        index(mode, *fields) for mode in (ASCENDING, DESCENDING) for fields in ("cd", "dc", "cbde", "bcd", "cbd", "dbc")
    )
)


def query(
    ranges: Sequence[tuple[str, str, int]], direction: int, after: Mapping[str, int] | None = None
) -> structured_query.Query:
    """Return the query for `a` = 1 and some ranges, in the order of all fields, after the values of a cursor."""
    message = m.StructuredQuery()
    message.from_.add(collection_id="t")
    message.where.composite_filter.op = 1  # AND
    for field, operator, value in (("a", 5, 1), *((field, OPERATORS[sign], value) for field, sign, value in ranges)):
        condition = message.where.composite_filter.filters.add().field_filter
        condition.field.field_path, condition.op, condition.value.integer_value = field, operator, value
    for field in FIELDS:
        message.order_by.add(direction=direction).field.field_path = field
        if after is not None:
            message.start_at.values.add(integer_value=after[field])
    return structured_query.read(ROOT, message)


def found_by_comparing(
    documents: Sequence[dict[str, int]],
    ranges: Sequence[tuple[str, str, int]],
    direction: int,
    after: Mapping[str, int] | None,
) -> list[dict[str, int]]:
    """Return the documents that the query selects, without an index."""
    compare = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}
    ordered = sorted(documents, key=lambda each: [each[field] for field in FIELDS], reverse=direction == 2)
    selected = [
        each
        for each in ordered
        if each["a"] == 1 and all(field in each and compare[sign](each[field], value) for field, sign, value in ranges)
    ]
    if after is None:
        return selected
    start = [after[field] for field in FIELDS]
    return [
        each
        for each in selected
        if ([each[field] for field in FIELDS] > start if direction == 1 else [each[field] for field in FIELDS] < start)
    ]


_small = st.integers(0, 5)
_documents = st.fixed_dictionaries({"a": st.sampled_from([1, 1, 1, 2]), "b": _small, "c": _small, "d": _small})
_ranges = st.lists(
    st.tuples(st.sampled_from(FIELDS), st.sampled_from([*OPERATORS]), _small), min_size=1, max_size=3, unique_by=str
)


async def check(
    documents: Sequence[dict[str, int]],
    ranges: Sequence[tuple[str, str, int]],
    direction: int,
    after: Any,
    page_size: int = 3,
) -> int:
    """Compare the results of the query with those of comparing. Return the number of keys that were read."""
    read = 0
    parts = KeyFilter.parts

    def counted(*arguments: Any) -> Any:
        nonlocal read
        read += 1
        return parts(*arguments)

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeyFilter, "parts", counted)
        patch.setattr(index_keys, "KEYS_PER_PLACE", 1)
        patch.setattr(scanner, "MAX_SORTED_RESULTS", 4)
        storage = Storage(Path(folder) / "data", definitions=DEFINED, creates_indexes=False)
        try:
            time = await commit(storage, {f"t/{number}": each for number, each in enumerate(documents)})
            asked = query(ranges, direction, after)
            results = [each async for _, each in result_pages.stream(storage, asked, time, page_size)]
        finally:
            await storage.close()
    found = [{name: each.fields[name].integer_value for name in ("a", *FIELDS)} for each in results]
    assert found == found_by_comparing(documents, ranges, direction, after)
    return read


@settings(max_examples=100, deadline=None)
@given(
    st.lists(_documents, min_size=1, max_size=30),
    _ranges,
    st.sampled_from([1, 2]),
    st.one_of(st.none(), st.fixed_dictionaries({"b": _small, "c": _small, "d": _small})),
)
def test_a_second_index_finds_the_same_documents(documents: Any, ranges: Any, direction: int, after: Any) -> None:
    """With any ranges, in both directions, after any cursor, and in pages of three results."""
    asyncio.run(check(documents, ranges, direction, after))


async def test_few_keys_are_read_if_few_documents_meet_a_filter() -> None:
    """Without a second index, all 60 keys would be read. Many documents meet the last filter.

    The second index is used if it has at most four times as many keys as were rejected.
    """
    documents = [{"a": 1, "b": number, "c": number % 30, "d": 0} for number in range(60)]

    assert await check(documents, [("c", ">=", 29)], 1, None) == 1 + 2
    assert await check(documents, [("c", ">=", 30)], 1, None) == 1
    assert await check(documents, [("c", ">=", 1)], 1, None) >= 60


async def test_all_pages_use_the_same_search_of_the_second_index() -> None:
    """Results of many bytes have many pages. Only the first page reads keys: one that is rejected and four others."""
    documents = [{"a": 1, "b": number, "c": number % 15, "d": 0} for number in range(60)]

    assert await check(documents, [("c", ">=", 14)], 1, None, page_size=1) == 1 + 4
