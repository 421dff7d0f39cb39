"""`POST /rollups` moves the expired results of each submitter, and says how many."""

import pytest

from tests.infra.firestore.server_process import FirestoreProcess
from tests.triggers.hourly_archive.conftest import TOMORROW, Database
from tests.triggers.hourly_archive.summary_check import START, check
from triggers.rollups.endpoint import RollupsEndpoint


async def test_a_run_moves_expired_results_and_builds_rollups_of_the_others(
    database: Database, indexed_firestore: FirestoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results are moved first, so the rollups do not contain them."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", indexed_firestore.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", database.firestore.database.split("/")[1])
    await database.compute(START, [1.0])
    await database.compute(START, [2.0], expire_at=TOMORROW)

    report = await RollupsEndpoint(shards=database.shards, min_results=1).run(b"")

    assert report == {"resultsArchived": 1, "resultsRead": 1, "hoursWritten": 1, "finished": True}
    await check(database, START, START.replace(hour=23))
