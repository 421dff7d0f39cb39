"""Summaries stay right if samples change after the rollups were built."""

import asyncio
import time
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pytest

from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.rollups.checkpoint_store import CheckpointStore
from storage.rollups.rollup_store import RollupStore
from storage.rollups.series import TOTAL
from tests.stack import Stack, eventually
from tests.triggers.rollups.conftest import no_pause
from triggers.rollups.report import Report
from triggers.rollups.rollup_builder import RollupBuilder

SUBMITTER = "rolled-up"
DAY = date(2026, 3, 1)
SUMMARY = "{ resultsSummary { results mean maximum } resultsOverTime(bucket: HOUR) { start results mean maximum } }"
SUMMARY_OF_SERIES = """{
  ofSite: resultsOverTime(bucket: HOUR, filter: {labels: [{name: "site", value: "a"}]}) { start results mean maximum }
  daily: resultsOverTime(bucket: DAY, groupBy: ["site"]) { labels { value } results mean maximum }
}"""
DELETE = 'mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "wrong") { id } }'
RECOMPUTE = "mutation ($ids: [ID!]) { recompute(ids: $ids) { id } }"
CORRECT = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"


def sample(hour: int, *data: float, site: str = "a") -> dict[str, Any]:
    """Return a sample of an hour of one day."""
    return {"time_stamp": f"2026-03-01T{hour:02}:30:00Z", "data": data, "labels": {"site": site} if site else {}}


def expected(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a summary of samples."""
    values = np.concatenate([each["data"] for each in samples])
    return {"results": len(samples), "mean": pytest.approx(values.mean()), "maximum": values.max()}


def by_hour(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the time buckets of samples."""
    hours: dict[str, list[dict[str, Any]]] = {}
    for each in sorted(samples, key=lambda each: each["time_stamp"]):
        hours.setdefault(each["time_stamp"].replace(":30:", ":00:"), []).append(each)
    return [{"start": start, **expected(each)} for start, each in hours.items()]


def by_site(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the groups of samples in the order of their sites."""
    sites: dict[str, list[dict[str, Any]]] = {}
    for each in samples:
        sites.setdefault(each["labels"].get("site", ""), []).append(each)
    return [{"labels": [{"value": site}] if site else [], **expected(sites[site])} for site in sorted(sites)]


def answer(samples: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what the API responds to both queries."""
    found = list(samples.values())
    return {
        "resultsSummary": expected(found),
        "resultsOverTime": by_hour(found),
        "ofSite": by_hour([each for each in found if each["labels"].get("site") == "a"]),
        "daily": by_site(found),
    }


def build(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> int:
    """Build the rollups of the submitter, as `POST /rollups` does for submitters with many results.

    Return the number of stored hours. The schedule of the stack can build the same rollups at the same time, which
    ends this run.
    """
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)

    async def run() -> int:
        firestore = Firestore.connect(timeout_seconds=30)
        writer = GroupCommitWriter(firestore, timeout_seconds=30)
        report = Report(is_finished=False)
        while not report.is_finished:
            report = Report()
            deadline = time.monotonic() + 60
            builder = RollupBuilder(firestore, writer, SUBMITTER, shards=1, deadline=deadline, min_results=0)
            try:
                await builder.run(report)
            except PreconditionFailed:
                report.is_finished = False
        assert await CheckpointStore(firestore, SUBMITTER).read() is not None
        days = await RollupStore(firestore, SUBMITTER, TOTAL).read(DAY, DAY, await firestore.now(), no_pause)
        await writer.close()
        await firestore.close()
        return sum(1 for day in days.values() for _ in day.hours())

    return asyncio.run(run())


def test_late_recomputed_corrected_and_deleted_samples_change_summaries(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change shows before the rollups contain it, and after."""
    key = stack.new_key(SUBMITTER, "submit,read,admin")
    query = partial(stack.graphql, key=key)
    samples = {}
    for each in (
        sample(hour, hour, 2.0 * hour, site=site)
        for hour, site in zip((5, 5, 6, 8, 9), ["a", "b", "b", "a", ""], strict=True)
    ):
        samples[stack.submit(each, key=key)["id"]] = each

    def summary() -> dict[str, Any]:
        return {**query(SUMMARY), **query(SUMMARY_OF_SERIES)}

    def wait() -> None:
        eventually(lambda: summary() == answer(samples), lambda: f"{summary()}\n{stack.log}")

    wait()
    assert build(stack, monkeypatch) == 4
    wait()

    late = sample(6, 100.0)
    late_id = stack.submit(late, key=key)["id"]
    samples[late_id] = late
    wait()

    first, second, *_ = samples
    query(RECOMPUTE, {"ids": [first]})
    corrected = sample(5, 50.0)
    samples.pop(second)
    samples[query(CORRECT, {"sample": corrected, "id": second})["submit"]["id"]] = corrected
    wait()
    build(stack, monkeypatch)
    wait()

    query(DELETE, {"ids": [late_id, first]})
    del samples[late_id], samples[first]
    wait()
    build(stack, monkeypatch)
    wait()
