"""Kills and suspensions of API, function and Firestore during changes. Afterwards, the documents fit together.

One client submits small and large samples, corrects, recomputes and deletes some, and changes the retention. It repeats
each request until it is answered, and each deletion until it has finished.

Environment variables: `TORTURE_CHANGES` is the minimum number of changes, and `TORTURE_SEED` repeats the random
choices.
"""

import contextlib
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stack import Stack, eventually, suspended
from tests.stack_files import stack_file

CHANGES = int(os.environ.get("TORTURE_CHANGES", "12"))
SEED = int(os.environ.get("TORTURE_SEED", random.SystemRandom().randrange(1 << 32)))
FUNCTION = "triggers.app:create_app"
BATCH_LINES = 20
LARGE_VALUES = 100_000
MAX_PAUSE, MAX_SUSPENSION = 4.0, 4.0
MIN_DISTURBANCES = CHANGES // 3  # on a fast machine, all changes take a few seconds
ANSWER_SECONDS = 240.0
TIMEOUT_SECONDS = 240 + 20 * CHANGES

DELETE = 'mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "test") { id } }'
STATE = "query ($id: ID!) { deletion(id: $id) { state } }"
RECOMPUTE = "mutation ($ids: [ID!]) { recompute(ids: $ids) { id } }"
SET_RETENTION = "mutation ($days: Int) { setRetention(sampleDays: 30, resultDays: $days) { resultDays } }"
IN_STATE = "query ($state: SampleState) { samples(filter: {state: $state}) { totalCount } }"
SUMMARY = "{ resultsSummary { results values } }"


class Workload:
    """Changes samples. `kept` are the digests and numbers of values of the samples that count, by id."""

    def __init__(self, stack: Stack, chance: random.Random) -> None:
        self.kept: dict[str, tuple[str, int]] = {}
        self.superseded: dict[str, str] = {}
        """The digest of each corrected sample, by id."""
        self.deleted: set[str] = set()
        self.changes: Counter[str] = Counter()
        self._chance = chance
        self._client = httpx.Client(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=60)

    def run(self, is_enough: Callable[[], bool]) -> None:
        """Make all changes, and more until `is_enough` returns true."""
        changes = [self._submit, self._submit_large, self._correct, self._delete, self._recompute, self._set_retention]
        self._submit()
        for number in itertools.count():
            if number >= CHANGES and is_enough():
                break
            change = changes[number % len(changes)]
            change()
            self.changes[change.__name__] += 1
            if len(self.kept) < BATCH_LINES:
                self._submit()
        self._client.close()

    def _sample(self, values: int, **members: str) -> bytes:
        data = [round(self._chance.gauss(20, 5), 3) for _ in range(values)]
        sample = {"time_stamp": f"2026-01-{self._chance.randint(1, 28):02}T00:00:00Z", "data": data}
        return json.dumps({**sample, "labels": {"site": self._chance.choice("ab")}, **members}).encode()

    def _submit(self) -> None:
        counts = [self._chance.randint(1, 9) for _ in range(BATCH_LINES)]
        lines = [self._sample(count, idempotency_key=uuid.uuid4().hex) for count in counts]
        ids: list[str] = []

        def send() -> bool:
            headers = {"content-type": "application/x-ndjson"}
            response = self._client.post("/samples", content=b"\n".join(lines), headers=headers)
            receipts = [json.loads(line) for line in response.text.splitlines()] if response.is_success else []
            ids[:] = [receipt["id"] for receipt in receipts if "id" in receipt]
            return len(ids) == len(lines)

        _until_answered(send)
        for sample_id, line, count in zip(ids, lines, counts, strict=True):
            self.kept[sample_id] = _digest(line), count

    def _submit_large(self) -> None:
        self._post(self._sample(LARGE_VALUES), LARGE_VALUES)

    def _correct(self) -> None:
        values = self._chance.choice([1, LARGE_VALUES])
        wrong = self._chance.choice(sorted(self.kept))
        self._post(self._sample(values), values, {"x-supersedes": wrong})
        self.superseded[wrong] = self.kept.pop(wrong)[0]

    def _post(self, raw: bytes, values: int, headers: dict[str, str] | None = None) -> None:
        given = {"content-type": "application/json", "idempotency-key": uuid.uuid4().hex, **(headers or {})}
        response = self._answer(lambda: self._client.post("/samples", content=raw, headers=given))
        assert response.is_success, response.text
        self.kept[response.json()["id"]] = _digest(raw), values

    def _delete(self) -> None:
        ids = self._chance.sample(sorted({*self.kept, *self.superseded}), BATCH_LINES // 2)
        while self._delete_once(ids) != "FINISHED":
            self.changes["interrupted deletions"] += 1
        for sample_id in ids:
            self.kept.pop(sample_id, None)
            self.superseded.pop(sample_id, None)
        self.deleted.update(ids)

    def _recompute(self) -> None:
        self._graphql(RECOMPUTE, {"ids": self._chance.sample(sorted(self.kept), BATCH_LINES // 2)})

    def _set_retention(self) -> None:
        self._graphql(SET_RETENTION, {"days": self._chance.choice([None, 30, 90])})

    def _delete_once(self, ids: list[str]) -> str:
        """Start a deletion. Return its final state."""
        started = self._graphql(DELETE, {"ids": ids})["deleteSamples"]
        while (state := self._graphql(STATE, started)["deletion"]["state"]) == "RUNNING":
            time.sleep(0.1)
        return str(state)

    def _graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        response = self._answer(lambda: self._client.post("/graphql", json=body))
        data: dict[str, Any] = response.json()["data"]
        assert data, response.text
        return data

    def _answer(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Return the first response that is not a temporary failure."""
        responses: list[httpx.Response] = []

        def answered() -> bool:
            responses[:] = [send()]
            return responses[0].status_code < 500 and "RATE_LIMITED" not in responses[0].text

        _until_answered(answered)
        return responses[0]


class Disturber:
    """Kills and suspends processes of the stack at random times until `stop`.

    After most kills, it waits until the stack is ready. On a slow machine, no request would otherwise be answered.
    """

    def __init__(self, stack: Stack, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._processes: dict[str, Callable[[], int]] = {
            "api": stack.api_pid,
            "function": partial(stack.pid_of, FUNCTION),
            "firestore": stack.firestore_pid,
        }
        self._stack = stack
        self._chance = chance
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def has_disturbed(self) -> bool:
        """Return whether there were enough kills and suspensions. Raises an error if there will be no more."""
        assert self._thread.is_alive(), "the thread of the disturber has failed"
        return self.counts.total() >= MIN_DISTURBANCES

    def stop(self) -> None:
        """Disturb no more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._chance.uniform(0, MAX_PAUSE)):
            name = self._chance.choice(sorted(self._processes))
            is_killed = self._chance.random() < 0.6
            try:
                pid = self._processes[name]()
                if is_killed:
                    os.kill(pid, signal.SIGKILL)
                else:
                    with suspended(pid):
                        self._stopping.wait(self._chance.uniform(0, MAX_SUSPENSION))
            except (LookupError, ProcessLookupError):  # it is restarting
                continue
            self.counts[f"{name} {'killed' if is_killed else 'suspended'}"] += 1
            if is_killed and self._chance.random() < 0.7:
                self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        while not self._stopping.is_set() and not self._stack.is_ready():
            self._stopping.wait(0.1)


@pytest.mark.timeout(2 * TIMEOUT_SECONDS)
def test_documents_fit_together_after_kills_during_changes(tmp_path: Path) -> None:
    """No sample, chunk or result is missing, no deleted one remains, and all counts are equal."""
    print(f"TORTURE_SEED={SEED} TORTURE_CHANGES={CHANGES}")
    file = stack_file(tmp_path, FUNCTION, trigger="max_crashes = 1000")  # no event becomes a dead letter
    with contextlib.ExitStack() as exits:
        stack = exits.push(Stack(tmp_path))
        stack.start("--stack", str(file))
        workload = Workload(stack, random.Random(SEED))
        disturber = Disturber(stack, random.Random(SEED))
        try:
            workload.run(disturber.has_disturbed)
        finally:
            disturber.stop()
        eventually(stack.is_ready, lambda: stack.log)
        for state, count in (
            ("PENDING", 0),
            ("COMPUTED", len(workload.kept)),
            ("SUPERSEDED", len(workload.superseded)),
        ):
            counted = partial(_is_count, stack, state, count)
            eventually(counted, lambda: stack.log, patience_seconds=TIMEOUT_SECONDS)
        check_documents(stack, workload)
        assert stack.graphql(SUMMARY)["resultsSummary"] == {
            "results": len(workload.kept),
            "values": sum(values for _, values in workload.kept.values()),
        }
        verify = [sys.executable, "-m", "triggers.verify", "--recompute-every", "1"]
        subprocess.run(verify, check=True, env=os.environ | stack.firestore_environment)
    print(f"{dict(workload.changes)}, {len(workload.deleted)} samples deleted, {dict(disturber.counts)}")


def check_documents(stack: Stack, workload: Workload) -> None:
    """Compare the stored samples, chunks and results with the changes."""
    firestore: Any = stack.firestore()
    samples, results = (
        {each.id: each.to_dict() for each in firestore.collection(f"submitters/local/{name}").stream()}
        for name in ("samples", "results")
    )
    digests = {sample_id: digest for sample_id, (digest, _) in workload.kept.items()} | workload.superseded
    assert {sample_id: sample["sha256"] for sample_id, sample in samples.items()} == digests
    statuses = dict.fromkeys(workload.kept, "COMPUTED") | dict.fromkeys(workload.superseded, "SUPERSEDED")
    statuses |= dict.fromkeys(workload.deleted, "DELETED")
    assert {sample_id: result["status"] for sample_id, result in results.items()} == statuses
    chunks = Counter(each.reference.parent.parent.id for each in firestore.collection_group("chunks").stream())
    uploads = {each.get("sample") for each in firestore.collection("uploads").stream()}  # a later sweep removes them
    expected = Counter({sample_id: sample.get("chunks", 0) for sample_id, sample in samples.items()})
    assert {each for each in chunks | expected if chunks[each] != expected[each]} <= uploads
    assert expected <= chunks
    firestore.close()


def _is_count(stack: Stack, state: str, count: int) -> bool:
    return bool(stack.graphql(IN_STATE, {"state": state})["samples"]["totalCount"] == count)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _until_answered(send: Callable[[], bool]) -> None:
    """Repeat a request until `send` returns true. It can also raise an error of the connection."""
    problems: list[str] = []

    def answered() -> bool:
        try:
            return send()
        except httpx.TransportError as error:
            problems[:] = [repr(error)]
            return False

    eventually(answered, lambda: str(problems), patience_seconds=ANSWER_SECONDS)
