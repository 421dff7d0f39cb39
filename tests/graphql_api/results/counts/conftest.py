"""A Firestore with the samples of one submitter, and without a function."""

from collections.abc import AsyncIterator

import pytest

from storage.firestore.client import Firestore
from tests.graphql_api.results.counts.stored_states import new_database
from tests.infra.firestore.server_process import FirestoreProcess


@pytest.fixture
async def firestore(indexed_firestore: FirestoreProcess) -> AsyncIterator[Firestore]:
    """A client of a database with the samples of days 2 to 6."""
    async with new_database(indexed_firestore) as firestore:
        yield firestore
