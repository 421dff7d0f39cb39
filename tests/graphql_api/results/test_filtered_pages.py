"""Pages of documents that meet a condition which Firestore cannot check."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.results import sharded_query
from graphql_api.results.filters import Order
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import PageRequest
from graphql_api.results.sharded_query import ShardedQuery
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document

START = datetime(2026, 1, 1, tzinfo=UTC)


class Documents:
    """A Firestore with one collection, whose documents are in the order of their numbers."""

    def __init__(self, count: int) -> None:
        self.limits: list[int] = []
        self._stored = [self._document(number) for number in range(count)]

    def _document(self, number: int) -> Any:
        time = encoding.to_value(START + timedelta(seconds=number))
        return Document(name=self.name(str(number)), fields={"submitted_at": time})

    def name(self, path: str) -> str:
        """Return a document name with the last segment of `path`."""
        return f"c/{path.rpartition('/')[2]}"

    async def documents(self, parent: str, query: Any, read_time: Any) -> list[Any]:
        """Return the documents after the cursor, up to the limit of the query."""
        self.limits.append(query.limit.value)
        start = 0
        if query.HasField("start_at"):
            start = int(query.start_at.values[-1].reference_value.rpartition("/")[2]) + 1
        return self._stored[start : start + query.limit.value]

    page = documents


def numbers(edges: Sequence[Any]) -> list[int]:
    """Return the numbers of the documents of a page."""
    return [int(document.name.rpartition("/")[2]) for _, document in edges]


async def read(
    documents: Documents, matching: set[int], size: int, *, matches_most: bool = False
) -> list[tuple[list[int], list[int]]]:
    """Return the matching documents of each page, and the limits of its queries."""

    async def document_filter(read: Sequence[Any]) -> list[bool]:
        return [int(document.name.rpartition("/")[2]) in matching for document in read]

    ordered = OrderedQuery("samples", Order("submitted_at"))
    query = ShardedQuery(cast(Firestore, documents), "local", 1, ordered, document_filter, matches_most=matches_most)
    pages, request = [], PageRequest(size)
    while True:
        documents.limits.clear()
        page = await query.page(request)
        pages.append((numbers(page.edges), [*documents.limits]))
        if not page.has_more:
            return pages
        request = PageRequest(size, after=page.scanned_to)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_all_pages_together_have_each_matching_document_once(are_matches: list[bool], size: int) -> None:
    """A page ends when it is full, or after it has read its maximum of documents."""
    matching = {number for number, is_match in enumerate(are_matches) if is_match}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_FILTERED_BATCH_SIZE", 2), ("_MAX_FILTERED_BATCH_SIZE", 5), ("_MAX_SCANNED", 16)):
            patch.setattr(sharded_query, name, value)
        pages = asyncio.run(read(Documents(len(are_matches)), matching, size))

    assert [number for found, _ in pages for number in found] == sorted(matching)
    assert all(len(found) <= size and sum(limits) <= 16 for found, limits in pages)


async def test_a_page_without_a_match_reads_larger_and_larger_batches() -> None:
    """Few calls read all documents of such a page. A page whose documents match at once reads a small batch."""
    documents = Documents(2_000)

    few, many = await read(documents, set(), 1), await read(documents, {0, 1, 2}, 2)

    assert few == [([], [200, 400, 500, 500, 400]), ([], [200])]
    assert many[0] == ([0, 1], [200])


async def test_a_page_of_which_most_documents_match_reads_few_more_than_it_has() -> None:
    """Each document that is read costs the read of another document."""
    documents = Documents(300)

    pages = await read(documents, {*range(300)} - {3}, 20, matches_most=True)

    assert [limits for _, limits in pages] == [[21, 42], *([[21]] * 14)]
    assert [number for found, _ in pages for number in found] == [number for number in range(300) if number != 3]
