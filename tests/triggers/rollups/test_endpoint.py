"""`POST /rollups` and `python -m triggers.rollups` build the rollups of all submitters."""

import asyncio
import json
import os
import subprocess
import sys
from functools import partial
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from starlette.exceptions import HTTPException

from storage.documents import document_paths
from storage.firestore import encoding
from storage.rollups.rollup import EARLIEST, LATEST
from tests.infra.firestore.server_process import FirestoreProcess
from tests.ports import free_port
from tests.triggers.rollups.conftest import Database
from tests.triggers.rollups.summary_check import START, check
from triggers.rollups import endpoint
from triggers.rollups.endpoint import RollupsEndpoint
from triggers.rollups.report import Report


def connect(monkeypatch: pytest.MonkeyPatch, address: str, database: Database) -> None:
    """Select the database of a test in the environment."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", database.firestore.database.split("/")[1])


def runs(outcome: str) -> float:
    """Return the number of runs with this outcome."""
    return REGISTRY.get_sample_value("dropzone_rollup_runs_total", {"outcome": outcome}) or 0.0


async def test_a_run_builds_the_rollups_of_each_submitter(
    database: Database, indexed_firestore: FirestoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls at the same time do the work once."""
    await database.compute(START, [1.0, 2.0])
    connect(monkeypatch, indexed_firestore.address, database)
    rollups = RollupsEndpoint(shards=database.shards, min_results=1)

    finished = runs("finished")

    first, second = await asyncio.gather(rollups.run(b""), rollups.run(b""))

    assert runs("finished") == finished + 1
    assert first == {"resultsArchived": 0, "resultsRead": 1, "hoursWritten": 1, "finished": True}
    assert second == {"running": True}
    assert await database.checkpoints.read() is not None
    await check(database, EARLIEST, LATEST)


async def test_a_submitter_whose_rollups_fail_does_not_stop_the_others(
    database: Database, indexed_firestore: FirestoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A due result with damaged fields is an example. The schedule shows the error."""
    await database.compute(START, [1.0, 2.0])
    name = database.firestore.name(document_paths.result("damaged", "result"))
    fields = {"shard": 0, "archive_at": START, "status": "COMPUTED", "timestamp": START, "labels": "no labels"}
    await database.writer.write(encoding.to_write(name, fields))
    connect(monkeypatch, indexed_firestore.address, database)

    failed = runs("failed")

    with pytest.raises(HTTPException, match="damaged: internal error, see the log"):
        await RollupsEndpoint(shards=database.shards, min_results=1).run(b"")

    assert runs("failed") == failed + 1
    await check(database, EARLIEST, LATEST)
    assert await database.checkpoints.read() is not None


async def test_a_run_without_firestore_asks_for_a_retry(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule shows the error, and the next run continues."""
    connect(monkeypatch, f"127.0.0.1:{free_port()}", database)
    monkeypatch.setattr(endpoint, "TIMEOUT_SECONDS", 0.1)

    failed = runs("failed")

    with pytest.raises(HTTPException, match="the rollups continue at the next call"):
        await RollupsEndpoint(shards=1).run(b"")

    assert runs("failed") == failed + 1


def test_the_command_prints_what_it_has_done(indexed_firestore: FirestoreProcess) -> None:
    """One line of JSON, as in the response of `POST /rollups`."""
    environment = os.environ | {
        "FIRESTORE_EMULATOR_HOST": indexed_firestore.address,
        "GOOGLE_CLOUD_PROJECT": "rolled-up-by-the-command",
        "DROPZONE_EVENT_SECRET": "s" * 40,
    }
    command = [sys.executable, "-m", "triggers.rollups"]

    printed = subprocess.check_output(command, env=environment, text=True)

    assert json.loads(printed) == {"resultsArchived": 0, "resultsRead": 0, "hoursWritten": 0, "finished": True}


async def test_submitters_share_a_run_and_the_rest_of_it_goes_to_those_who_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A submitter with endless work comes first. The others are finished in the same run, and it gets the rest."""
    clock = Clock()
    monkeypatch.setattr(endpoint, "time", clock)
    monkeypatch.setattr(endpoint, "randrange", lambda _: 0)
    monkeypatch.setattr(endpoint, "RollupBuilder", partial(Builder, clock))
    archived: list[str] = []
    monkeypatch.setattr(endpoint, "Archiver", partial(Archiver, archived))

    report = await Submitters().run(b"")

    parts = [(submitter, round(seconds)) for submitter, seconds in clock.parts]
    assert parts == [("busy", 60), ("a", 0), ("b", 0), ("busy", 120)]
    assert archived == ["busy", "a", "b"]
    assert report["finished"] is False


async def test_each_submitter_is_the_first_one_in_some_runs_of_new_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that runs a command starts a new process for each run, which knows no earlier run."""
    clock = Clock()
    monkeypatch.setattr(endpoint, "time", clock)
    monkeypatch.setattr(endpoint, "RollupBuilder", partial(Builder, clock))
    first: set[str] = set()

    for _ in range(200):
        archived: list[str] = []
        monkeypatch.setattr(endpoint, "Archiver", partial(Archiver, archived))
        await Submitters().run(b"")
        first.add(archived[0])

    assert first == {"busy", "a", "b"}


class Clock:
    """A clock that only the builders advance."""

    def __init__(self) -> None:
        self.now = 0.0
        self.parts: list[tuple[str, float]] = []

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now


class Builder:
    """Works until its deadline if the submitter is busy. Otherwise there is nothing to do."""

    def __init__(self, clock: Clock, _firestore: object, _writer: object, submitter: str, **options: Any) -> None:
        self._clock = clock
        self._submitter = submitter
        self._deadline = options["deadline"]

    async def run(self, report: Report) -> None:
        """Advance the clock."""
        started = self._clock.now
        if self._submitter == "busy":
            self._clock.now, report.is_finished = self._deadline, False
        self._clock.parts.append((self._submitter, self._clock.now - started))


class Archiver:
    """Records the submitter, and finds nothing to move."""

    moved = 0
    is_finished = True

    def __init__(self, archived: list[str], _firestore: object, submitter: str, **_options: object) -> None:
        archived.append(submitter)

    async def run(self) -> None:
        """Do nothing."""


class Submitters(RollupsEndpoint):
    """The endpoint with three submitters, without Firestore."""

    def __init__(self) -> None:
        super().__init__(shards=1)
        self._connection = cast(Any, (self, None))

    async def document_ids(self, _: str) -> list[str]:
        """Return the submitters."""
        return ["busy", "a", "b"]
