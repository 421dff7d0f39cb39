"""The clock of the API is some hours ahead of the clock of Firestore, which sets and checks the times of documents."""

from collections.abc import AsyncIterator, Iterator

import pytest

from graphql_api.results.deletion.deletion import Deletion, DeletionState
from graphql_api.results.filters import EVERYTHING
from storage.documents import Conflict, Header, SampleState, document_paths
from storage.firestore import encoding
from storage.firestore.retriggering import trigger_again
from tests.graphql_api.ingest.conftest import LARGE, SMALL, SUBMITTER, Api, opened_api, running_firestore
from tests.infra.firestore.earlier_clock import DIFFERENCE
from tests.infra.firestore.server_process import FirestoreProcess

OTHER = b'{"time_stamp": "2019-05-02T06:00:00Z", "data": [2]}'


@pytest.fixture(scope="module")
def earlier_firestore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreProcess]:
    """A Firestore that has an earlier time. Each test has its own database in it."""
    program = ("-m", "tests.infra.firestore.earlier_clock")
    with running_firestore(tmp_path_factory.mktemp("earlier"), *program) as process:
        yield process


@pytest.fixture
async def late(earlier_firestore: FirestoreProcess) -> AsyncIterator[Api]:
    """An API whose Firestore has an earlier time."""
    async with opened_api(earlier_firestore) as opened:
        yield opened


async def submit(api: Api, raw: bytes) -> Header:
    """Store a sample that expires before the time of the API, and after the time of Firestore."""
    header = await api.submit(raw)
    path = document_paths.sample(SUBMITTER, header.id)
    expire_at = await api.firestore.now() + DIFFERENCE / 2
    await api.firestore.batch_write([encoding.to_partial_write(api.firestore.name(path), {"expire_at": expire_at})])
    return header


@pytest.mark.parametrize("raw", [SMALL, LARGE], ids=["small", "large"])
async def test_a_repeated_sample_does_not_replace_the_stored_sample(late: Api, raw: bytes) -> None:
    """It is stored once, and another sample with its key is refused."""
    first = await submit(late, raw)

    again = await late.submit(raw)
    with pytest.raises(Conflict):
        await late.submit(OTHER)

    assert again.submitted_at == first.submitted_at
    assert (await late.store.raw(SUBMITTER, first.id))[1] == raw


async def test_a_sample_is_pending_until_it_has_expired_for_firestore(late: Api) -> None:
    """Lists contain it, and it can be recomputed."""
    header = await submit(late, SMALL)

    pending = late.store.sample_listing.ids(SUBMITTER, SampleState.PENDING, EVERYTHING, 10)
    (stored,) = (await late.headers()).values()

    assert [ids async for ids in pending] == [[header.id]]
    assert not await late.store.has_expired(stored)
    assert list(await trigger_again(late.firestore, late.writer, SUBMITTER, [header.id])) == [header.id]


async def test_a_job_that_runs_is_not_interrupted(late: Api) -> None:
    """A job counts as interrupted if its record was not updated for 30 seconds. Firestore sets the time of updates."""
    now = await late.firestore.now()
    running = Deletion("00000000-0000-4000-8000-000000000001", DeletionState.RUNNING, 0, "wrong", now, now)
    await late.deletions.write(SUBMITTER, running)

    stored = await late.deletions.read(SUBMITTER, running.id)

    assert stored is not None
    assert stored.state is DeletionState.RUNNING
