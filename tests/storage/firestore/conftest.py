"""A Firestore that a test scripts, and a writer that sends writes to it."""

from collections.abc import AsyncIterator

import pytest

from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.storage.firestore.scripted_firestore import ScriptedFirestore, serve


@pytest.fixture
def server() -> ScriptedFirestore:
    """The Firestore that the test scripts."""
    return ScriptedFirestore()


@pytest.fixture
async def firestore(server: ScriptedFirestore) -> AsyncIterator[Firestore]:
    """A client of it."""
    async with serve(server) as client:
        yield client


@pytest.fixture
def writer(firestore: Firestore) -> GroupCommitWriter:
    """A writer whose deadline no test reaches."""
    return GroupCommitWriter(firestore, timeout_seconds=60)
