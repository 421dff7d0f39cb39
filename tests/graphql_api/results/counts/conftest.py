"""A Firestore with the samples of one submitter, and without a function."""

from collections.abc import AsyncIterator, Iterator

import pytest

from storage.firestore.client import Firestore
from tests.graphql_api.results.counts.stored_states import new_database
from tests.infra.firestore.server_process import FirestoreProcess


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreProcess]:
    """A Firestore without a function. Each test has its own database in it."""
    process = FirestoreProcess(tmp_path_factory.mktemp("counts"), "--indexes", "infra/gcp/firestore.indexes.json")
    process.start()
    yield process
    process.close()


@pytest.fixture
async def firestore(process: FirestoreProcess) -> AsyncIterator[Firestore]:
    """A client of a database with the samples of days 2 to 6."""
    async with new_database(process) as firestore:
        yield firestore
