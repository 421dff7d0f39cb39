"""Corrections of one submitter that are stored at the same time."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.ingest.backlog import Backlog
from graphql_api.ingest.corrections import Corrections
from graphql_api.ingest.repeated_samples import RepeatedSamples
from storage.documents import Conflict, Sample, SampleIdentity, Status, Unavailable, document_paths
from storage.documents.validation.payload import validate
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, Write, WriteResult
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

pytestmark = pytest.mark.anyio

RAW = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}'
EARLIER_ID = "00000000-0000-4000-8000-000000000000"
CORRECTIONS = 40


class BusyFirestore:
    """A Firestore that has one sample, and whose commits end when the test says so. It is also the writer."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.may_end = asyncio.Event()
        self.commits = 0
        self.max_commits = 0

    async def batch_get(self, paths: list[str], mask: object) -> dict[str, Any]:
        """Return the earlier sample."""
        return {path: Document(name=path) for path in paths if path.endswith(EARLIER_ID)}

    async def estimated_now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)

    async def commit(self, writes: list[Any]) -> list[Any]:
        """Count the commits that are in flight."""
        self.commits += 1
        self.max_commits = max(self.max_commits, self.commits)
        await self.may_end.wait()
        self.commits -= 1
        return [WriteResult() for _ in writes]


def correct(firestore: BusyFirestore, number: int) -> list["asyncio.Task[Any]"]:
    """Start to store corrections of the same submitter."""
    corrections = _corrections(firestore)
    samples = [_sample() for _ in range(number)]
    return [asyncio.create_task(corrections.correct(sample, Write(), EARLIER_ID)) for sample in samples]


def _corrections(double: object) -> Corrections:
    firestore, writer = cast(Firestore, double), cast(GroupCommitWriter, double)
    budgets, repeated = Budgets(Limits()), RepeatedSamples(firestore, cast(Any, None))
    return Corrections(firestore, writer, repeated, Backlog(firestore, budgets), budgets)


def _sample() -> Sample:
    identity = SampleIdentity.of(RAW, "local", None)
    return Sample.receive(RAW, validate(RAW), identity, default_labels=None, time_zone=None, shards=1)


async def test_few_corrections_of_a_submitter_are_committed_at_the_same_time() -> None:
    """Each is a Commit of its own, for which the writes of other submitters wait. All corrections are stored."""
    firestore = BusyFirestore(timeout_seconds=60)
    tasks = correct(firestore, CORRECTIONS)
    for _ in range(CORRECTIONS):
        await asyncio.sleep(0)
    in_flight = firestore.max_commits
    firestore.may_end.set()

    assert len(await asyncio.gather(*tasks)) == CORRECTIONS
    assert 1 <= in_flight <= firestore.max_commits < CORRECTIONS / 2


async def test_a_correction_does_not_wait_for_others_without_end() -> None:
    """If Firestore does not respond, each correction fails after the timeout of a write."""
    firestore = BusyFirestore(timeout_seconds=0.001)
    tasks = correct(firestore, CORRECTIONS)
    for _ in range(CORRECTIONS):
        await asyncio.sleep(0)
    in_flight, waiting = tasks[: firestore.max_commits], tasks[firestore.max_commits :]
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    firestore.may_end.set()
    await asyncio.gather(*in_flight)

    assert waiting
    assert all(isinstance(error, Unavailable) for error in errors)


class FirestoreOfDeletedCorrections:
    """A Firestore in which each correction of the sample was itself corrected, and then deleted."""

    def __init__(self, deleted: int) -> None:
        self.reads = 0
        self._deleted = [EARLIER_ID, *map(_id, range(deleted))]

    async def batch_get(self, paths: list[str], mask: object) -> dict[str, Any]:
        """Return the earlier sample, or the tombstones of deleted corrections."""
        self.reads += 1
        found: dict[str, Any] = {}
        for number, sample_id in enumerate(self._deleted):
            path = (document_paths.result if number else document_paths.sample)("local", sample_id)
            if path in paths:
                fields = {"status": Status.DELETED.value, "superseded_by": ([*self._deleted, None])[number + 1]}
                found[path] = encoding.to_write(path, fields).update
        return found

    async def estimated_now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)


def _id(number: int) -> str:
    return f"{number:08}-0000-4000-8000-000000000001"


@pytest.mark.parametrize("deleted", [0, 3, 30])
async def test_a_sample_can_be_corrected_after_its_corrections_were_deleted(deleted: int) -> None:
    """Each of them names the correction that replaced it, so each of them is read."""
    firestore = FirestoreOfDeletedCorrections(deleted)

    await _check(firestore)

    assert firestore.reads == 1 + deleted


async def test_a_correction_reads_a_bounded_number_of_deleted_corrections() -> None:
    """Otherwise, a client that has deleted thousands of corrections occupies the server with each request."""
    firestore = FirestoreOfDeletedCorrections(deleted=2_000)

    with pytest.raises(Conflict, match="delete the earlier sample too"):
        await _check(firestore)

    assert firestore.reads < 50


async def _check(firestore: FirestoreOfDeletedCorrections) -> None:
    """Check whether the earlier sample can be corrected."""
    await _corrections(firestore).check(SampleIdentity.of(RAW, "local", None), EARLIER_ID)
