"""Hourly statistics outlive their results: the retention is set by a command, and read over GraphQL."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from google.cloud.firestore import CollectionReference

from storage.documents import document_paths
from tests.stack import Stack, eventually, needs_embedded_firestore
from triggers.rollups.endpoint import RollupsEndpoint

SUBMITTER = "archived"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
_FIGURES = "results archivedResults values mean minimum maximum median"
SUMMARIES = f"""{{
    all: resultsSummary(groupBy: ["site"]) {{ {_FIGURES} groups {{ {_FIGURES} labels {{ value }} }} }}
    site: resultsSummary(filter: {{ labels: [{{ name: "site", value: "a" }}] }}) {{ {_FIGURES} }}
    range: resultsSummary(
        filter: {{ timestamp: {{ gte: "2026-03-01T06:00:00Z", lt: "2026-03-01T08:00:00Z" }} }}
    ) {{ {_FIGURES} }} }}"""
HOURS = f"{{ hours: resultsOverTime(bucket: HOUR) {{ start {_FIGURES} }} }}"
DAYS = f'{{ days: resultsOverTime(bucket: DAY, groupBy: ["site"]) {{ start labels {{ value }} {_FIGURES} }} }}'
STORED_ONLY = """{ results { totalCount } resultsSummary(filter: { mean: { gt: -1 } }) { results archivedResults }
    resultsOverTime(bucket: MINUTE) { results archivedResults } }"""


def dropzone(stack: Stack, key: str, *arguments: str) -> Any:
    """Run the command `dropzone`, and return the JSON that it prints."""
    environment = os.environ | {"DROPZONE_URL": stack.url, "DROPZONE_KEY": key}
    return json.loads(subprocess.check_output([sys.executable, "-m", "dropzone", *arguments], env=environment))


def without_archived(answer: Any) -> Any:
    """Return an answer without the numbers of archived results."""
    if isinstance(answer, dict):
        return {name: without_archived(value) for name, value in answer.items() if name != "archivedResults"}
    return [without_archived(value) for value in answer] if isinstance(answer, list) else answer


@needs_embedded_firestore  # the emulator has no time to live
def test_hourly_statistics_outlive_their_results(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is the same before the results expire, while some of them are archived, and at the end."""
    key = stack.new_key(SUBMITTER, "submit,read,admin")
    kept = dropzone(stack, key, "retention", "--samples", "1", "--results", "1", "--hourly", "forever", "--yes")
    assert kept == {"sample_days": 1, "result_days": 1, "is_default": False, "hourly": {"days": None}}

    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    ids, data = [], []
    for number in range(6):
        labels = {"labels": {"site": "ab"[number % 2]}}
        data.append([number, 2.5 * number])
        sample = {"time_stamp": f"2026-03-01T{5 + number // 2:02}:30:00Z", "data": data[-1], **labels}
        ids.append(stack.submit(sample, key=key)["id"])
    for sample_id in ids:
        stack.wait_for(sample_id, key=key)

    def answer() -> Any:
        return {
            name: value for query in (SUMMARIES, HOURS, DAYS) for name, value in stack.graphql(query, key=key).items()
        }

    whole = answer()
    assert whole["all"]["mean"] == pytest.approx(np.mean(data))
    assert [hour["results"] for hour in whole["hours"]] == [2, 2, 2]
    assert whole["range"]["results"] == 4
    firestore: Any = stack.firestore()  # `close` has no type hints
    parent = document_paths.submitter(SUBMITTER)
    samples, results = (firestore.collection(f"{parent}/{name}") for name in ("samples", "results"))
    for expiring in (ids[:3], ids[3:]):
        expire(samples, results, expiring, stack)
        archive(results, expiring)
        assert without_archived(answer()) == without_archived(whole)
    firestore.close()

    archived = answer()
    assert archived["all"]["archivedResults"] == 6
    assert [group["archivedResults"] for group in archived["all"]["groups"]] == [3, 3]
    assert [hour["archivedResults"] for hour in archived["hours"]] == [2, 2, 2]
    assert stack.graphql(STORED_ONLY, key=key) == {
        "results": {"totalCount": 0},
        "resultsSummary": {"results": 0, "archivedResults": None},
        "resultsOverTime": [],
    }
    assert dropzone(stack, key, "summary")["archived_results"] == 6


def expire(samples: CollectionReference, results: CollectionReference, ids: list[str], stack: Stack) -> None:
    """Let samples and their results expire. Firestore deletes the samples, and leaves the results."""
    for sample_id in ids:
        result = results.document(sample_id).get().to_dict() or {}
        assert result["archive_at"] > datetime.now(UTC)
        assert "expire_at" not in result
        samples.document(sample_id).update({"result_expire_at": YESTERDAY})  # the function computes the result again

    def is_due(sample_id: str) -> bool:
        return bool((results.document(sample_id).get().to_dict() or {})["archive_at"] == YESTERDAY)

    eventually(lambda: all(map(is_due, ids)), lambda: stack.log)
    for sample_id in ids:
        samples.document(sample_id).update({"expire_at": YESTERDAY})
    eventually(lambda: not {each.id for each in samples.stream()} & set(ids), lambda: stack.log)
    assert {each.id for each in results.stream()} >= set(ids)


def archive(results: CollectionReference, ids: list[str]) -> None:
    """Move results into the archive, as `POST /rollups` does. The schedule of the stack can be first."""

    def is_archived() -> bool:
        asyncio.run(RollupsEndpoint(shards=1).run(b""))
        return not {each.id for each in results.stream()} & set(ids)

    eventually(is_archived)
