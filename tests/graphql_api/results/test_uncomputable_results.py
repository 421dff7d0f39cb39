"""A recomputation reaches all samples that can be computed, although some outdated results cannot be replaced."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud.firestore import Client

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.filters import EVERYTHING
from graphql_api.results.recomputation import recomputer
from graphql_api.results.recomputation.recomputation import Recomputation, RecomputationState
from graphql_api.results.recomputation.recomputation_store import RecomputationStore
from graphql_api.results.recomputation.recomputer import Recomputer
from graphql_api.results.store import Store
from storage.documents import STATISTICS_VERSION, document_paths
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.graphql_api.results.test_recomputation import Station
from tests.stack import PATIENCE_SECONDS, Stack, eventually


class Recomputations:
    """The part of an API that recomputes, one sample at a time."""

    def __init__(self, firestore: Firestore) -> None:
        self.writer = GroupCommitWriter(firestore, timeout_seconds=30)
        turns = LoopTurns()
        self.recomputer = Recomputer(Store(firestore, turns, shards=1), RecomputationStore(firestore, self.writer))
        self._audit_log = AuditLog(firestore, self.writer, turns)

    async def recompute_all(self, submitter: str) -> Recomputation:
        """Recompute outdated results and PENDING samples. Return the last progress."""
        entry = self._audit_log.entry(submitter, actor="test", action="recomputed", facts=AuditFacts())
        current = await self.recomputer.recompute_outdated(submitter, EVERYTHING, lambda _: entry)
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for progress in self.recomputer.watch(submitter, current.id):
                current = progress
        return current


@pytest.fixture
async def recomputations(own_firestore: Firestore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Recomputations]:
    """Recompute in batches of one sample that wait only one second for a result."""
    monkeypatch.setattr(recomputer, "_BATCH_SIZE", 1)
    monkeypatch.setattr(recomputer, "_MAX_IDLE_SECONDS", 1.0)
    opened = Recomputations(own_firestore)
    yield opened
    await opened.recomputer.close()
    await opened.writer.close()


def damage(firestore: Client, station: Station, sample_id: str, version: int) -> None:
    """Let a sample have other bytes than submitted, and a result of an earlier version."""
    firestore.document(document_paths.sample(station.submitter, sample_id)).update({"raw": "{}"})
    make_old(firestore, station, sample_id, version)


def make_old(firestore: Client, station: Station, sample_id: str, version: int) -> None:
    """Let a sample have a result of an earlier version."""
    firestore.document(document_paths.result(station.submitter, sample_id)).update({"statistics_version": version})


def version(station: Station, sample_id: str) -> int:
    """Return the version of a result, or 0 without a result."""
    result = station.query("query ($id: ID!) { result(id: $id) { statisticsVersion } }", id=sample_id)["result"]
    return result["statisticsVersion"] if result else 0


async def test_samples_that_cannot_be_computed_do_not_keep_others_from_it(
    stack: Stack, firestore: Client, recomputations: Recomputations
) -> None:
    """Whether they come before or after the others."""
    station = await asyncio.to_thread(Station, stack, "partly-damaged", 4)
    first, outdated, last, pending = station.ids
    sample, result = (
        firestore.document(path("partly-damaged", pending)) for path in (document_paths.sample, document_paths.result)
    )
    sample.update({"submitted_at": datetime.now(UTC) - timedelta(minutes=1)})
    updated = sample.get().update_time
    eventually(lambda: result.get().get("sample_update_time") == updated, lambda: stack.log)
    result.delete()
    damage(firestore, station, first, 1)
    make_old(firestore, station, outdated, 2)
    damage(firestore, station, last, 3)

    ended = await recomputations.recompute_all("partly-damaged")

    assert (ended.state, ended.requested) == (RecomputationState.INCOMPLETE, 4)
    assert eventually(lambda: version(station, outdated) == version(station, pending) == STATISTICS_VERSION)
    assert (version(station, first), version(station, last)) == (1, 3)


async def test_a_recomputation_ends_if_no_batch_gets_a_result(
    stack: Stack, firestore: Client, recomputations: Recomputations
) -> None:
    """Otherwise, it would send all samples to a function that does not run."""
    station = await asyncio.to_thread(Station, stack, "damaged-everywhere", 4)
    for sample_id in station.ids:
        damage(firestore, station, sample_id, 1)

    ended = await recomputations.recompute_all("damaged-everywhere")

    assert (ended.state, ended.requested, ended.done) == (RecomputationState.INCOMPLETE, 3, 0)


async def test_the_ids_of_small_batches_are_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter can select few outdated results among many. One that cannot be replaced is then not alone."""
    monkeypatch.setattr(recomputer, "_BATCH_SIZE", 2)

    async def found() -> AsyncGenerator[Sequence[str], None]:
        for ids in ("a", "", "ab", "cd", "e"):
            yield [*ids]

    combined = [[*ids] async for ids in recomputer._full_batches(found())]

    assert combined == [[], [], ["a", "b"], ["c", "d"], [], ["e"]]


async def test_the_ids_of_a_small_batch_do_not_wait_for_the_end_of_a_long_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, nothing is recomputed if the process stops before that."""
    monkeypatch.setattr(recomputer, "_MAX_COLLECTING_SECONDS", 0)

    async def found() -> AsyncGenerator[Sequence[str], None]:
        yield ["a"]
        pytest.fail("the scan continued")

    async with aclosing(recomputer._full_batches(found())) as batches:
        assert await anext(batches) == ["a"]
