"""Memory of the server while a client reads many large documents."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from google.cloud.firestore import Client

from tests.infra.firestore.server_process import FirestoreProcess

DOCUMENTS = 160
DOCUMENT_BYTES = 1_000_000
COMMIT_DOCUMENTS = 8

Read = Callable[[Client], Iterable[Any]]


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
