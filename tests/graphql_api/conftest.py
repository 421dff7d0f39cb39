"""Fixtures for tests of the API over the shared stack."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from google.cloud.firestore import Client

from storage.firestore.client import Firestore
from tests.graphql_api.results.measured import Measured
from tests.stack import Stack


@pytest.fixture
def firestore(stack: Stack) -> Iterator[Client]:
    """Return Google's client of the shared stack."""
    client: Any = stack.firestore()  # `close` has no type hints
    yield client
    client.close()


@pytest.fixture
async def own_firestore(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Firestore]:
    """Return the API's own client of the Firestore of the shared stack."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    firestore = Firestore.connect(timeout_seconds=30)
    yield firestore
    await firestore.close()


@pytest.fixture(scope="session")
def one_shard(stack: Stack) -> Measured:
    """Return sixty computed samples in the shared stack, which has one shard."""
    return Measured(stack)


@pytest.fixture(scope="session")
def three_shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """Return sixty computed samples in a stack with three shards."""
    with Stack(tmp_path_factory.mktemp("shards"), DROPZONE_SHARDS="3") as stack:
        yield Measured(stack)


@pytest.fixture(scope="session", params=["one_shard", "three_shards"], ids=["one shard", "three shards"])
def measured(request: pytest.FixtureRequest) -> Measured:
    """Return sixty computed samples, stored once in one shard and once in three.

    pytest ends a fixture when its parameter changes, and then starts it again. The stacks are therefore fixtures of
    their own.
    """
    samples: Measured = request.getfixturevalue(request.param)
    return samples
