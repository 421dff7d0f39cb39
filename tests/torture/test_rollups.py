"""The function is killed at random while it computes samples and builds rollups. The rollups equal the results exactly.

Samples arrive in random order, some twice. Others are corrected, recomputed or deleted meanwhile.

Environment variables: `TORTURE_SAMPLES` is the number of samples, and `TORTURE_SEED` repeats the random choices.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from storage.documents import labels
from storage.firestore.client import Firestore
from storage.rollups.checkpoint_store import CheckpointStore
from storage.rollups.later_results import Key
from storage.rollups.merged_statistics import FIELDS, MergedStatistics, ResultStatistics
from storage.rollups.result_queries import ResultQueries
from storage.rollups.rollup import LATEST, Resolution
from storage.rollups.rollup_store import RollupStore
from storage.rollups.series import BY_SERIES, TOTAL, RollupKind
from tests.stack import Stack, eventually
from tests.stack_files import stack_file
from tests.triggers.rollups.conftest import figures, no_pause
from triggers.computation import summarize
from triggers.statistics.distribution import sketch

SAMPLES = int(os.environ.get("TORTURE_SAMPLES", "1000"))
SEED = int(os.environ.get("TORTURE_SEED", random.SystemRandom().randrange(1 << 32)))
START = datetime(2026, 1, 30, tzinfo=UTC)
DAYS = 7
BATCH_LINES = max(20, SAMPLES // 100)
DUPLICATES = BATCH_LINES // 10
"""Samples in a batch that were sent before."""
CHANGE_PROBABILITY = 0.5
"""After each batch."""
MAX_PAUSE = 6.0
MIN_KILLS = 2
SUBMITTER = "local"
TIMEOUT_SECONDS = 120 + SAMPLES / 25

RECOMPUTE = "mutation ($ids: [ID!]) { recompute(ids: $ids) { id } }"
DELETE = 'mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "test") { id } }'
CORRECT = "mutation ($sample: RawSample!, $id: ID) { submit(sample: $sample, supersedes: $id) { id } }"
IN_STATE = "query ($state: SampleState) { samples(filter: {state: $state}) { totalCount } }"
SUMMARY = "{ resultsSummary { results values } }"


Hours = dict[Key, tuple[Any, ...]]
"""Figures by the start of the hour and the series."""


@dataclass
class Submitted:
    """A sample as it was sent."""

    timestamp: datetime
    data: list[float]
    labels: dict[str, str]
    key: str

    @property
    def series(self) -> str:
        """The series in rollups."""
        return labels.term(self.labels) or "-"

    @property
    def sample(self) -> dict[str, Any]:
        """The sample as JSON."""
        return {"time_stamp": self.timestamp.isoformat(), "data": self.data, "labels": self.labels}


class Workload:
    """Submits samples and changes some of them. `samples` are those whose results count, by id."""

    def __init__(self, stack: Stack, chance: random.Random) -> None:
        self.samples: dict[str, Submitted] = {}
        self.duplicates = 0
        self.changes = 0
        self._stack = stack
        self._chance = chance
        self._sent: list[Submitted] = []
        self._ids: dict[str, str] = {}
        """The id of each sample, by its idempotency key."""
        self._deleted: set[str] = set()

    def run(self, killer: "Killer") -> None:
        """Submit all samples, and more until the function was killed twice."""
        while len(self._sent) < SAMPLES or killer.kills < MIN_KILLS:
            repeated = self._chance.sample(self._sent, min(DUPLICATES, len(self._sent)))
            batch = [self._new() for _ in range(BATCH_LINES)]
            self._sent += batch
            self.duplicates += len(repeated)
            self._submit(batch + repeated)
            if self._chance.random() < CHANGE_PROBABILITY:
                self._change()

    def _new(self) -> Submitted:
        moment = START + self._chance.random() * timedelta(days=DAYS)
        data = [
            self._chance.gauss(20, 5) * 10 ** self._chance.randint(-2, 2) for _ in range(self._chance.randint(1, 5))
        ]
        site = self._chance.choice([{}, {"site": "a"}, {"site": "b"}])
        return Submitted(moment, data, site, uuid.uuid4().hex)

    def _submit(self, batch: list[Submitted]) -> None:
        self._chance.shuffle(batch)
        lines = [json.dumps({**each.sample, "idempotency_key": each.key}).encode() for each in batch]
        response = self._stack.post_sample(b"\n".join(lines), content_type="application/x-ndjson")
        receipts = [json.loads(line) for line in response.text.splitlines()]
        assert len(receipts) == len(batch), response.text
        for each, receipt in zip(batch, receipts, strict=True):
            sample_id = receipt.get("id")
            if each.key in self._ids:
                assert sample_id == self._ids[each.key], receipt
                if sample_id in self._deleted:  # it is stored again
                    self._deleted.remove(sample_id)
                    self.samples[sample_id] = each
            else:
                self._ids[each.key] = sample_id
                self.samples[sample_id] = each

    def _change(self) -> None:
        """Correct a sample, delete some, or compute some again."""
        ids = self._chance.sample(sorted(self.samples), 3)
        change = self._chance.choice([CORRECT, DELETE, RECOMPUTE])
        if change == CORRECT:
            corrected = self._new()
            submitted = self._stack.graphql(CORRECT, {"sample": corrected.sample, "id": ids[0]})["submit"]
            self.samples[submitted["id"]] = corrected
            del self.samples[ids[0]]
        else:
            (started,) = self._stack.graphql(change, {"ids": ids}).values()
            self._await_end("recomputation" if change == RECOMPUTE else "deletion", started["id"])
            if change == DELETE:
                for sample_id in ids:
                    del self.samples[sample_id]
                    self._deleted.add(sample_id)
        self.changes += 1

    def _await_end(self, name: str, job: str) -> None:
        query = f"query ($id: ID!) {{ {name}(id: $id) {{ state }} }}"
        eventually(
            lambda: self._stack.graphql(query, {"id": job})[name]["state"] != "RUNNING",
            lambda: f"{name} has no end",
            patience_seconds=TIMEOUT_SECONDS,
        )


class Killer:
    """Kills the function at random times until `stop`, each time after it has become ready again."""

    def __init__(self, stack: Stack, chance: random.Random) -> None:
        self.kills = 0
        self._stack = stack
        self._chance = chance
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Kill no more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._chance.uniform(0, MAX_PAUSE)):
            if self._is_ready():
                os.kill(self._stack.pid_of("eager_rollups"), signal.SIGKILL)
                self.kills += 1

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._stack.function_port}/healthz", timeout=10).is_success
        except httpx.TransportError:
            return False


@pytest.mark.timeout(4 * TIMEOUT_SECONDS)
def test_rollups_equal_the_results_although_the_function_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No result counts twice, none is missing, and a deleted or corrected one does not count."""
    print(f"TORTURE_SEED={SEED} TORTURE_SAMPLES={SAMPLES}")
    file = stack_file(tmp_path, "tests.torture.eager_rollups:create_app", schedules=("rollups",))
    with contextlib.ExitStack() as exits:
        stack = exits.push(Stack(tmp_path))
        for name, value in stack.firestore_environment.items():
            monkeypatch.setenv(name, value)
        stack.start("--stack", str(file))
        workload = Workload(stack, random.Random(SEED))
        killer = Killer(stack, random.Random(SEED))
        try:
            workload.run(killer)
        finally:
            killer.stop()
        for state, count in (("PENDING", 0), ("COMPUTED", len(workload.samples))):
            eventually(partial(_is_count, stack, state, count), lambda: stack.log, patience_seconds=TIMEOUT_SECONDS)
        stored = asyncio.run(_stored_rollups())
        summary = stack.graphql(SUMMARY)["resultsSummary"]
    expected = _expected(workload.samples)
    assert summary == {
        "results": len(workload.samples),
        "values": sum(len(each.data) for each in workload.samples.values()),
    }
    for kind, found in stored.items():
        assert found.keys() == expected[kind].keys()
        assert [key for key in found if found[key] != expected[kind][key]] == []
    print(
        f"{len(workload.samples)} results in {len(stored[TOTAL])} hours, {workload.duplicates} samples sent twice, "
        f"{workload.changes} changes, {killer.kills} kills"
    )


def _is_count(stack: Stack, state: str, count: int) -> bool:
    return bool(stack.graphql(IN_STATE, {"state": state})["samples"]["totalCount"] == count)


async def _stored_rollups() -> dict[RollupKind, Hours]:
    """Wait until the rollups contain all results. Return the figures of each hour and series, for each kind."""
    firestore = Firestore.connect(timeout_seconds=30)
    checkpoints, queries = CheckpointStore(firestore, SUBMITTER), ResultQueries(firestore, SUBMITTER, shards=1)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not await _is_complete(checkpoints, queries, firestore):
        assert time.monotonic() < deadline, f"the rollups are not complete: {await checkpoints.read()}"
        await asyncio.sleep(0.2)
    found: dict[RollupKind, Hours] = {TOTAL: {}, BY_SERIES: {}}
    for kind, hours in found.items():
        rollups = RollupStore(firestore, SUBMITTER, kind)
        last = START + timedelta(days=DAYS)
        for day in (await rollups.read(START.date(), last.date(), await firestore.now(), no_pause)).values():
            for key, snapshot in day.hours():
                statistics = snapshot.statistics()
                statistics.finish()
                hours[key] = figures(statistics)
    await firestore.close()
    return found


async def _is_complete(checkpoints: CheckpointStore, queries: ResultQueries, firestore: Firestore) -> bool:
    """Return whether a run of the builder has found nothing left to do."""
    checkpoint = await checkpoints.read()
    if checkpoint is None or checkpoint.covered_until != LATEST or checkpoint.stale_from is not None:
        return False
    if checkpoint.compared_at is None:
        return False
    return not await queries.count_changes(checkpoint.as_of, await firestore.now(), is_computed=False)


def _expected(samples: dict[str, Submitted]) -> dict[RollupKind, Hours]:
    """Return the figures of each hour and series, from the samples as they were sent."""
    found: dict[RollupKind, dict[Key, MergedStatistics]] = {
        TOTAL: defaultdict(MergedStatistics),
        BY_SERIES: defaultdict(MergedStatistics),
    }
    for each in samples.values():
        statistics = summarize(np.array(each.data))
        values = ResultStatistics(*(getattr(statistics, name) for name in FIELDS))
        hour = Resolution.HOUR.start_of(each.timestamp)
        for kind, series in ((TOTAL, "*"), (BY_SERIES, each.series)):
            found[kind][hour, series].add(values, sketch(sorted(each.data)))
    for hours in found.values():
        for merged in hours.values():
            merged.finish()
    return {kind: {key: figures(merged) for key, merged in hours.items()} for kind, hours in found.items()}
