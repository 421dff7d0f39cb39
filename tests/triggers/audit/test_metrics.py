"""The metric that says how far the audit is, from which an alert is derived."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from storage.documents import Unavailable
from tests.triggers.audit.conftest import Database
from triggers.audit import metrics
from triggers.audit.audit_documents import AuditState


def checked_until() -> float | None:
    """Return the value of the metric."""
    return REGISTRY.get_sample_value("dropzone_audit_checked_until_seconds")


async def test_after_a_restart_the_metric_has_the_stored_time_although_runs_fail(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, an audit that cannot write after a restart of the function would raise no alert."""
    await database.audit().run()
    stored = await database.state()
    store = database.store()

    async def refuse(state: AuditState) -> AuditState:
        raise Unavailable(f"nothing was written of {state}")

    monkeypatch.setattr(store, "write_state", refuse)
    metrics.CHECKED_UNTIL.set(0)  # as in a new process

    with pytest.raises(Unavailable):
        await database.audit(store=store).run()

    assert checked_until() == stored.checked_until.timestamp()


async def test_the_metric_follows_an_instance_that_has_the_lease(database: Database) -> None:
    """The instance was killed, so this process is the only one that can say how far the audit is."""
    await database.audit().run()
    stored = await database.state()
    await database.change_state(leased_until=stored.leased_until + timedelta(minutes=5))
    metrics.CHECKED_UNTIL.set(0)

    assert await database.audit().run() is None

    assert checked_until() == stored.checked_until.timestamp()


async def test_a_number_of_an_earlier_run_does_not_count_as_the_latest(database: Database) -> None:
    """Another instance runs now. It may have found the samples that this instance still reports as missing."""
    audit = database.audit()
    await audit.run()
    stored = await database.state()
    await database.change_state(leased_until=stored.leased_until + timedelta(minutes=5))
    metrics.CHECKED_UNTIL.set(1)

    assert await audit.run() is None

    assert checked_until() == 1
