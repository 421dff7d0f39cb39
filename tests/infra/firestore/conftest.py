"""What the tests of the embedded Firestore share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud.firestore import Client, CollectionReference

from tests.infra.firestore.server_process import FirestoreProcess


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session")
def firestore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreProcess]:
    """A server for tests that keep to their own collections."""
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
    """A collection that no other test uses."""
    return client.collection(request.node.name.replace("/", "_").replace(".", "_"))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[FirestoreProcess]:
    """A server, not started, for a test that stops it or starts it in its own way."""
    process = FirestoreProcess(tmp_path)
    yield process
    process.close()
