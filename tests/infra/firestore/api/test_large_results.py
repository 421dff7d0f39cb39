"""Reads of many large documents, which need little memory."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from google.cloud.firestore import Client, CollectionReference

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import ROOT, FirestoreProcess

DOCUMENTS = 160
DOCUMENT_BYTES = 1_000_000
COMMIT_DOCUMENTS = 8

Read = Callable[[Client], Iterable[Any]]


@pytest.mark.parametrize("show_missing", [False, True])
def test_a_list_of_large_documents_has_short_pages(
    collection: CollectionReference, firestore: FirestoreProcess, show_missing: bool
) -> None:
    """A page can have fewer documents than the client requested. The next pages contain the others."""
    for number in range(5):
        collection.document(f"{number}").set({"bytes": bytes(DOCUMENT_BYTES)})
    request = m.ListDocumentsRequest(parent=ROOT, collection_id=collection.id, show_missing=show_missing)

    first = firestore.call("ListDocuments", request, m.ListDocumentsResponse)
    request.page_token = first.next_page_token
    second = firestore.call("ListDocuments", request, m.ListDocumentsResponse)

    assert [document.name[-1] for document in first.documents] == ["0", "1", "2"]
    assert [document.name[-1] for document in second.documents] == ["3", "4"]
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    "read",
    [
        lambda client: client.collection("large").stream(),
        lambda client: client.get_all([client.document(f"large/{number}") for number in range(DOCUMENTS)]),
    ],
    ids=["query", "get_all"],
)
def test_the_memory_does_not_grow_with_the_number_of_documents(own: FirestoreProcess, read: Read) -> None:
    """A response can be larger than the memory of the machine."""
    own.start()
    client = own.client()
    for first in range(0, DOCUMENTS, COMMIT_DOCUMENTS):
        batch = client.batch()
        for number in range(first, first + COMMIT_DOCUMENTS):
            batch.set(client.document(f"large/{number}"), {"bytes": os.urandom(DOCUMENT_BYTES)})
        batch.commit()
    own.end()
    own.start()
    before = own.resident_bytes()

    used = [own.resident_bytes() for number, _ in enumerate(read(client), 1) if number % 20 == 0]

    assert len(used) == DOCUMENTS // 20
    assert max(used) - before < DOCUMENTS * DOCUMENT_BYTES // 2
