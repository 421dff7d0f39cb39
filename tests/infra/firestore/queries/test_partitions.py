"""PartitionQuery: split points of a collection group, page by page."""

from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess


def request(group: str, **options: Any) -> Any:
    """Return a PartitionQuery request for at most seven split points."""
    query = m.StructuredQuery(from_=[m.StructuredQuery.CollectionSelector(collection_id=group, all_descendants=True)])
    query.order_by.add(direction=1).field.field_path = "__name__"
    return m.PartitionQueryRequest(parent=ROOT, structured_query=query, partition_count=7, **options)


def split_points(response: Any) -> list[str]:
    """Return the document names of a page."""
    return [cursor.values[0].reference_value for cursor in response.partitions]


def write(firestore: FirestoreProcess, group: str, letter: str) -> None:
    """Write 1500 documents whose ids start with a letter."""
    for batch in range(3):
        numbers = range(batch * 500, batch * 500 + 500)
        writes = [m.Write(update=m.Document(name=f"{ROOT}/{group}/{letter}{number:04}")) for number in numbers]
        firestore.call("BatchWrite", m.BatchWriteRequest(database=DATABASE, writes=writes), m.BatchWriteResponse)


def test_pages_together_have_the_split_points_of_one_page(firestore: FirestoreProcess) -> None:
    """Despite writes between them, because a token holds the read time. The last page has no token, even if full."""
    write(firestore, "cut", "m")
    whole = firestore.call("PartitionQuery", request("cut"), m.PartitionQueryResponse)
    pages = [firestore.call("PartitionQuery", request("cut", page_size=3), m.PartitionQueryResponse)]
    write(firestore, "cut", "a")
    while pages[-1].next_page_token:
        following = request("cut", page_size=3, page_token=pages[-1].next_page_token)
        pages.append(firestore.call("PartitionQuery", following, m.PartitionQueryResponse))
    full = firestore.call("PartitionQuery", request("cut", page_size=7), m.PartitionQueryResponse)

    assert len(split_points(whole)) == 7
    assert (whole.next_page_token, full.next_page_token) == ("", "")
    assert [len(split_points(page)) for page in pages] == [3, 3, 1]
    assert [name for page in pages for name in split_points(page)] == split_points(whole)


@pytest.mark.parametrize(("options", "words"), [({"page_token": "x"}, "page token"), ({"page_size": -1}, "page_size")])
def test_an_invalid_page_is_rejected(firestore: FirestoreProcess, options: dict[str, Any], words: str) -> None:
    """With INVALID_ARGUMENT."""
    with pytest.raises(grpc.RpcError, match=words) as error:
        firestore.call("PartitionQuery", request("cut", **options), m.PartitionQueryResponse)

    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
