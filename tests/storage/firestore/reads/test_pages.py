"""All documents of a query, read page by page."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from storage.firestore.messages import RunQueryRequest, RunQueryResponse, StructuredQuery
from tests.storage.firestore import one_method


class Queries:
    """A RunQuery over documents with the field `n`, in the order of `n`. Several documents have the same `n`."""

    def __init__(self, documents: int) -> None:
        self.queries: list[Any] = []
        self._positions = [(number // 2, f"{one_method.DATABASE}/documents/a/{number}") for number in range(documents)]

    async def run_query(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Serve one call."""
        del context
        query = request.structured_query
        self.queries.append(query)
        positions = self._positions
        if query.HasField("start_at"):
            number, name = query.start_at.values
            start = number.integer_value, name.reference_value
            positions = [each for each in positions if each > start]
        for number, name in positions[: query.limit.value]:
            yield RunQueryResponse(document={"name": name, "fields": {"n": {"integer_value": number}}})


@pytest.mark.parametrize(("documents", "sizes"), [(0, []), (2, [2]), (3, [3]), (7, [3, 3, 1])])
async def test_each_document_is_in_one_page(documents: int, sizes: list[int]) -> None:
    """A page can end between documents with the same value, because the names of documents are the last order."""
    queries = Queries(documents)
    method = grpc.unary_stream_rpc_method_handler(
        queries.run_query, RunQueryRequest.FromString, RunQueryResponse.SerializeToString
    )
    query = StructuredQuery(from_=[{"collection_id": "a"}])
    query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = "n"
    before = query.SerializeToString()

    async with one_method.serve("RunQuery", method, timeout_seconds=30) as firestore:
        pages = [[document.name[-1] for document in page] async for page in firestore.pages("", query, 3)]

    assert [len(page) for page in pages] == sizes
    assert [name for page in pages for name in page] == [str(number) for number in range(documents)]
    assert {tuple(each.field.field_path for each in sent.order_by) for sent in queries.queries} == {("n", "__name__")}
    assert query.SerializeToString() == before
