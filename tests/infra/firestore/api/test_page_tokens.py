"""Page tokens that the server has not returned for the same list."""

from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess

LISTED = {"parent": ROOT, "collection_id": "paged", "page_size": 1}


@pytest.fixture(scope="module", autouse=True)
def _documents(firestore: FirestoreProcess) -> None:
    """Three documents in each of two collections."""
    paths = [f"{collection}/{number}" for collection in ("paged", "other") for number in range(3)]
    writes = [m.Write(update=m.Document(name=f"{ROOT}/{path}")) for path in paths]
    for number, write in enumerate(writes):
        write.update.fields["number"].integer_value = number
    firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=writes), m.CommitResponse)


def listed(firestore: FirestoreProcess, **fields: Any) -> Any:
    """Return a page of documents."""
    return firestore.call("ListDocuments", m.ListDocumentsRequest(**LISTED | fields), m.ListDocumentsResponse)


def collection_ids(firestore: FirestoreProcess, **fields: Any) -> Any:
    """Return a page of collection ids."""
    request = m.ListCollectionIdsRequest(**{"parent": ROOT, "page_size": 1} | fields)
    return firestore.call("ListCollectionIds", request, m.ListCollectionIdsResponse)


@pytest.mark.parametrize("call", [listed, collection_ids])
def test_a_damaged_token_is_refused(firestore: FirestoreProcess, call: Any) -> None:
    """With INVALID_ARGUMENT: it would skip documents or return them twice. Clients would retry an internal error."""
    token = call(firestore).next_page_token
    damaged = {token[:end] for end in range(1, len(token))} | {f"{token}!", f"{token}.", f"{token}.YQ==", "x", "."}
    damaged |= {token[:at] + ("1" if token[at] == "0" else "0") + token[at + 1 :] for at in range(len(token))}

    for each in damaged:
        with pytest.raises(grpc.RpcError, match="page token is invalid") as refused:
            call(firestore, page_token=each)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, each


@pytest.mark.parametrize(
    "other",
    [
        {"collection_id": "other"},
        {"parent": f"{ROOT}/paged/0"},
        {"order_by": "number"},
        {"order_by": "number desc"},
        {"show_missing": True},
    ],
    ids=str,
)
def test_a_token_of_another_list_is_refused(firestore: FirestoreProcess, other: dict[str, Any]) -> None:
    """With INVALID_ARGUMENT: its position is the wrong place in this list."""
    token = listed(firestore).next_page_token

    with pytest.raises(grpc.RpcError, match="equal to those of the first page") as refused:
        listed(firestore, page_token=token, **other)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_token_of_another_method_is_refused(firestore: FirestoreProcess) -> None:
    """Also if the requests have equal parameters."""
    token = listed(firestore, collection_id="").next_page_token

    with pytest.raises(grpc.RpcError, match="page token is invalid"):
        collection_ids(firestore, page_token=token)


def test_pages_can_have_different_sizes(firestore: FirestoreProcess) -> None:
    """The page size is the only parameter that can change."""
    first = listed(firestore)
    second = listed(firestore, page_token=first.next_page_token, page_size=2)

    names = [document.name for page in (first, second) for document in page.documents]
    assert names == [f"{ROOT}/paged/{number}" for number in range(3)]
