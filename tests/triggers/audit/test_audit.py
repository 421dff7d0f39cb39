"""Every accepted sample is checked once, and none stays without a result unnoticed."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import grpc.aio
import pytest
from prometheus_client import REGISTRY

from storage.documents import Arrival, Status
from tests.triggers.audit.conftest import Database
from triggers.audit import audit as audit_module
from triggers.audit.audit_documents import AuditState, Finding
from triggers.audit.audit_store import AuditStore

HEALED = "dropzone_audit_healed_samples_total"
NOT_JSON = b'{"time_stamp": "never", "data": []}'


async def test_samples_with_results_are_counted_and_not_read(database: Database) -> None:
    """600 samples of three submitters cost as many reads as six."""
    for submitter in ("one", "two", "three"):
        await database.compute(await database.submit(submitter, 200))
    store = database.store()

    report = await database.audit(store=store).run()

    assert report is not None
    assert (report.checked, report.triggered, report.missing) == (600, 0, 0)
    assert report.reads < 25


async def test_a_sample_without_a_result_is_triggered_again(database: Database) -> None:
    """Of many samples, only those whose event was lost are."""
    samples = await database.submit("one", 400) + await database.submit("two", 10)
    lost = [samples[7], samples[399], samples[400]]
    await database.compute([sample for sample in samples if sample not in lost])

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (410, 3)
    assert await database.triggered(samples) == [sample.id for sample in lost]
    assert sorted(len(finding.sample_ids) for finding in await database.store().findings()) == [1, 2]


async def test_a_failed_result_is_final(database: Database) -> None:
    """The sample has a state, and `recompute` tries again if an operator wishes."""
    samples = await database.submit("one", 3)
    await database.compute(samples, status="FAILED")

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (3, 0)


async def test_a_rejected_sample_needs_no_result(database: Database) -> None:
    """It had its state when it arrived."""
    (rejected,) = await database.submit("one", 1, NOT_JSON)
    assert rejected.arrival is Arrival.REJECTED

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (0, 0)


async def test_an_expired_sample_is_not_missing(database: Database) -> None:
    """Firestore can delete its result some time before the sample. The audit neither triggers nor reports it."""
    now = datetime.now(UTC)
    expired = await database.submit("one", 3, expire_at=now)
    (lost,) = await database.submit("one", 1, expire_at=now + timedelta(days=1))
    store = database.store()

    report = await database.audit(store=store).run()

    assert report is not None
    assert (report.checked - report.triggered, report.triggered) in {(3, 1), (0, 1)}  # or Firestore has deleted them
    assert await store.existing_samples("one", [each.id for each in (*expired, lost)]) == [lost.id]


async def test_a_result_of_an_earlier_release_is_found(database: Database) -> None:
    """It has no time of submission, so the counts differ and the samples are read."""
    samples = await database.submit("one", 30)
    await database.compute(samples, submitted_at=None)

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (30, 0)


async def test_a_young_sample_is_not_checked_yet(database: Database) -> None:
    """Its event is probably still on its way."""
    await database.submit("one", 3)

    report = await database.audit(timedelta(minutes=5)).run()

    assert report is not None
    assert (report.checked, report.triggered) == (0, 0)


async def test_every_sample_is_checked_once(database: Database) -> None:
    """The next run starts where the last one ended, also in another process."""
    await database.compute(await database.submit("one", 5))
    first = await database.audit().run()
    await database.compute(await database.submit("one", 7))
    second = await database.audit().run()
    third = await database.audit().run()

    assert first is not None
    assert second is not None
    assert third is not None
    assert [first.checked, second.checked, third.checked] == [5, 7, 0]
    assert (await database.state()).checked == 12


async def test_instances_that_run_at_the_same_time_check_every_sample_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them read that no instance has the lease. One gets it, and the others do nothing."""
    samples = await database.submit("one", 50)
    await database.compute(samples[5:])
    all_have_read = asyncio.Barrier(5)
    read_state = AuditStore.read_state

    async def read_state_together(store: AuditStore) -> AuditState | None:
        state = await read_state(store)
        await all_have_read.wait()
        return state

    monkeypatch.setattr(AuditStore, "read_state", read_state_together)

    reports = await asyncio.gather(*(database.audit().run() for _ in range(5)))

    (report,) = [each for each in reports if each is not None]
    assert (report.checked, report.triggered) == (50, 5)


async def test_an_instance_that_was_killed_does_not_stop_the_audit(database: Database) -> None:
    """Its lease expires."""
    await database.audit().run()
    state = await database.state()
    await database.submit("one", 4)

    await database.change_state(leased_until=state.leased_until + timedelta(minutes=5))
    assert await database.audit().run() is None
    await database.change_state(leased_until=state.leased_until)
    report = await database.audit().run()

    assert report is not None
    assert report.triggered == 4


async def test_an_instance_that_lost_its_lease_changes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was suspended while another one ran, and its next write fails."""
    await database.submit("one", 4)
    store = database.store()
    find = store.findings

    async def findings_after_another_run() -> list[Finding]:
        await database.change_state(checked=17)
        return await find()

    monkeypatch.setattr(store, "findings", findings_after_another_run)

    assert await database.audit(store=store).run() is None
    assert (await database.state()).checked == 17


async def test_a_finding_ends_when_its_samples_have_results(database: Database) -> None:
    """The second event was processed."""
    samples = await database.submit("one", 3)
    await database.audit().run()
    await database.compute(samples)

    report = await database.audit().run()

    assert report is not None
    assert report.missing == 0
    assert await database.store().findings() == []


async def test_the_function_is_triggered_again_three_times(database: Database) -> None:
    """At the check that finds the sample and at the next two. Later checks wait for the retries of the event."""
    await database.submit("one", 1)
    reports = [await database.audit().run()]
    for _ in range(4):
        (finding,) = await database.store().findings()
        await database.age(finding, hours=1)
        reports += [await database.audit().run()]

    assert [each and each.triggered for each in reports] == [1, 1, 1, 0, 0]


async def test_samples_that_have_a_result_at_a_later_check_are_counted_once(database: Database) -> None:
    """A sample that stays without a result is not healed, and neither is one that was deleted meanwhile."""
    healed, late, deleted = await database.submit("one", 3)
    counted, reports = REGISTRY.get_sample_value(HEALED) or 0, [await database.audit().run()]
    await database.compute([healed])
    await database.compute([deleted], status=Status.DELETED.value)
    reports += [await database.audit().run()]
    (finding,) = await database.store().findings()
    await database.age(finding, hours=1)
    await database.compute([late])
    reports += [await database.audit().run() for _ in range(2)]

    assert [each and each.healed for each in reports] == [0, 1, 1, 0]
    assert (await database.state()).healed == 2
    assert REGISTRY.get_sample_value(HEALED) == counted + 2


async def test_what_stays_without_a_result_raises_an_alert(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has an error with the ids, and the metric the number of samples."""
    samples = await database.submit("one", 3)
    await database.audit().run()
    await database.compute(samples[:1])
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]

    with caplog.at_level(logging.ERROR, "triggers"):
        report = await database.audit().run()

    assert report is not None
    assert report.missing == 2
    (record,) = [each for each in caplog.records if each.name == "triggers" and each.levelno == logging.ERROR]
    assert record.getMessage().startswith("audit: 2 samples of one have no current result ")
    assert all(sample.id in record.getMessage() for sample in samples[1:])


async def test_work_that_takes_too_long_for_one_run_is_finished_by_later_runs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage, each window has few missing results, and each run ends in time."""
    monkeypatch.setattr(audit_module, "MAX_WINDOW_DIFFERENCE", 10)
    monkeypatch.setattr(audit_module, "MAX_RUN_SECONDS", 0.0)
    samples = [sample for _ in range(6) for sample in await database.submit("one", 8)]
    audit = database.audit()
    await audit.run()

    async with asyncio.timeout(60):
        while (await database.state()).checked < 48:
            await audit.run()

    assert len(await database.triggered(samples)) == 48


async def test_all_shards_are_checked(channel: grpc.aio.Channel) -> None:
    """The indexes start with the shard."""
    database = Database(channel, shards=16)
    samples = await database.submit("one", 300)
    assert len({sample.shard for sample in samples}) == 16
    await database.compute(samples[9:])

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (300, 9)
