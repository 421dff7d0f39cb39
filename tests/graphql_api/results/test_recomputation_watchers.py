"""Many clients watch the same recomputation, but Firestore is read as often as for one client."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest

from graphql_api.results.recomputation.recomputation import Recomputation, RecomputationState
from graphql_api.results.recomputation.recomputation_store import RecomputationStore
from graphql_api.results.recomputation.recomputer import Recomputer
from graphql_api.results.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING = Recomputation("1", RecomputationState.RUNNING, requested=3, done=0, started_at=NOW, updated_at=NOW)
WATCHERS = 20
LATER = [replace(RUNNING, done=1), replace(RUNNING, done=2), replace(RUNNING, state=RecomputationState.FINISHED)]


class Records(RecomputationStore):
    """Returns RUNNING to each watcher, and then one later progress at each read."""

    def __init__(self) -> None:
        self.reads = 0

    async def read(self, submitter: str, job_id: str) -> Recomputation:
        """Return the progress."""
        del submitter, job_id
        self.reads += 1
        return RUNNING if self.reads <= WATCHERS else LATER[self.reads - WATCHERS - 1]


async def test_watchers_share_the_reads_after_their_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them still sees every change. A read that only one of them needs does not follow the end."""
    monkeypatch.setattr("graphql_api.results.recomputation.recomputer._WATCH_INTERVAL_SECONDS", 0.0)
    records = Records()
    recomputer = Recomputer(cast(Store, SimpleNamespace()), records)

    async def watch() -> list[Recomputation]:
        return [progress async for progress in recomputer.watch("station", "1")]

    seen = await asyncio.gather(*(watch() for _ in range(WATCHERS)))

    assert seen == [[RUNNING, *LATER]] * WATCHERS
    assert records.reads == WATCHERS + len(LATER)
