"""The audit gives a sample up if the function does not compute it within a day."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from storage.documents import document_paths
from tests.triggers.audit.conftest import Database


async def test_no_sample_is_pending_for_ever(database: Database) -> None:
    """After more than a day, no delivery retries its event any more."""
    (sample,) = await database.submit("one", 1)
    await database.audit().run()
    (finding,) = await database.store().findings()
    await database.age(finding, hours=26)

    report = await database.audit().run()

    assert report is not None
    assert (report.given_up, report.missing) == (1, 0)
    result = await database.fields(document_paths.result("one", sample.id))
    assert result is not None
    assert (result["status"], result["submitted_at"]) == ("FAILED", sample.submitted_at)
    assert await database.store().findings() == []


async def test_the_time_until_a_sample_is_given_up_starts_again_after_an_outage(database: Database) -> None:
    """The audit runs in the process of the function, and the event delivery retries the events for another day."""
    await database.submit("one", 1)
    await database.audit().run()
    (finding,) = await database.store().findings()
    await database.age(finding, hours=48, hours_since_due=30)

    report = await database.audit().run()

    assert report is not None
    assert (report.given_up, report.missing) == (0, 1)
    (finding,) = await database.store().findings()
    assert datetime.now(UTC) - finding.found_at < timedelta(hours=1)


async def test_a_result_that_was_found_late_raises_no_alert(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """After the machine was off for a day, the sample can have its result before the audit runs again."""
    samples = await database.submit("one", 1)
    await database.audit().run()
    (finding,) = await database.store().findings()
    await database.age(finding, hours=26)
    await database.compute(samples)

    with caplog.at_level(logging.ERROR, "triggers"):
        report = await database.audit().run()

    assert report is not None
    assert (report.healed, report.given_up, report.missing) == (1, 0, 0)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == []
