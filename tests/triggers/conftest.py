"""Fixtures of the function's tests."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from tests.infra.firestore.server_process import FirestoreProcess
from tests.triggers.machine import Machine


@pytest.fixture(scope="session")
async def machine(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Machine]:
    """A Firestore and the function, shared by tests with their own submitters."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    await machine.start()
    yield machine
    await machine.stop()


@pytest.fixture
async def channel(indexed_firestore: FirestoreProcess) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the Firestore with the published indexes."""
    async with grpc.aio.insecure_channel(indexed_firestore.address) as channel:
        yield channel


@pytest.fixture
async def own_machine(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Machine]:
    """A Firestore and the function for a test that stops one of them."""
    machine = Machine(tmp_path)
    await machine.start()
    yield machine
    await machine.stop()


@pytest.fixture
def submitter() -> str:
    """A submitter for one test."""
    return f"tenant-{uuid.uuid4()}"
