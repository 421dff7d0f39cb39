"""Fixtures of the tests of the embedded Firestore: servers, Google's client, and the storage without a server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from google.cloud.firestore import Client, CollectionReference

from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.server_process import FirestoreProcess


@pytest.fixture(scope="session")
def firestore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreProcess]:
    """A running server, shared by tests that use only their own collections."""
    process = FirestoreProcess(tmp_path_factory.mktemp("firestore"))
    process.start()
    yield process
    process.close()


@pytest.fixture(scope="session")
def client(firestore: FirestoreProcess) -> Client:
    """Google's client for the shared server."""
    return firestore.client()


@pytest.fixture
def collection(client: Client, request: pytest.FixtureRequest) -> CollectionReference:
    """A collection of the shared server that no other test uses."""
    return client.collection(request.node.name.replace("/", "_").replace(".", "_"))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[FirestoreProcess]:
    """A server that is not shared. The test starts it."""
    process = FirestoreProcess(tmp_path)
    yield process
    process.close()


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The storage of a new file."""
    storage = Storage(tmp_path / "firestore.sqlite")
    yield storage
    await storage.close()
