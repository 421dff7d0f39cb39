"""The Firestore client of the API."""

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from storage.firestore.client import Firestore
from tests.stack import Stack


@pytest.fixture
async def firestore(stack: Stack) -> AsyncIterator[Firestore]:
    """Return a client of the stack's Firestore, configured as in the API."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{stack.firestore_port}")
    yield Firestore(channel, "projects/dropzone-local/databases/(default)", timeout_seconds=30)
    await channel.close()
