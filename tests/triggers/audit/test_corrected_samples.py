"""A corrected sample needs a new result. Otherwise, lists would contain the results of both samples."""

import grpc.aio
import pytest

from storage.documents import Header, Status, document_paths
from storage.firestore import encoding
from tests.triggers.audit.conftest import Database
from triggers.audit import audit as audit_module


async def correct(database: Database, earlier: Header) -> Header:
    """Store a correction of a sample, and its result, as if the event of the earlier sample had been lost.

    The mark has the time of the correction, because the API stores both in one Commit.
    """
    (correction,) = await database.submit(earlier.submitter, 1)
    await database.compute([correction])
    path = document_paths.sample(earlier.submitter, correction.id)
    stored = encoding.from_document((await database.firestore.batch_get([path]))[path])
    fields = {"superseded_by": correction.id, "superseded_at": stored["submitted_at"]}
    mark = encoding.to_write(database.firestore.name(document_paths.sample(earlier.submitter, earlier.id)), fields)
    mark.update_mask.field_paths.extend(fields)
    await database.writer.write(mark)
    return correction


async def test_a_computed_result_of_a_corrected_sample_is_found(database: Database) -> None:
    """The numbers of samples and results are equal, and the earlier sample was checked before its correction."""
    samples = await database.submit("one", 3)
    await database.compute(samples)
    await database.audit().run()
    await correct(database, samples[1])

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (1, 1)
    assert await database.triggered(samples) == [samples[1].id]


async def test_a_corrected_sample_is_found_after_the_deletion_of_its_correction(database: Database) -> None:
    """Its submitter then has no other sample in the window."""
    (sample,) = await database.submit("one", 1)
    await database.compute([sample])
    await database.audit().run()
    correction = await correct(database, sample)
    name = database.firestore.name(document_paths.sample("one", correction.id))
    await database.writer.write(encoding.to_delete(name))

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (0, 1)
    assert await database.triggered([sample]) == [sample.id]


async def test_corrected_samples_of_all_submitters_and_shards_are_found(channel: grpc.aio.Channel) -> None:
    """One query per shard finds those of all submitters."""
    database = Database(channel, shards=3)
    samples = [*await database.submit("one", 8), *await database.submit("two", 8)]
    await database.compute(samples)
    for sample in samples:
        await correct(database, sample)

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (32, 16)
    assert await database.triggered(samples) == [sample.id for sample in samples]


async def test_a_corrected_sample_is_reported_until_its_result_is_superseded(database: Database) -> None:
    """The function was triggered again, but the result is still COMPUTED."""
    (sample,) = await database.submit("one", 1)
    await database.compute([sample])
    correction = await correct(database, sample)
    await database.audit().run()

    missing = await database.audit().run()
    (finding,) = await database.store().findings()
    await database.age(finding, hours=1)
    await database.compute([sample], status=Status.SUPERSEDED.value, superseded_by=correction.id)
    healed = await database.audit().run()

    assert missing is not None
    assert healed is not None
    assert (missing.missing, missing.healed, healed.missing, healed.healed) == (1, 0, 0, 1)


async def test_a_result_that_names_a_deleted_correction_is_found(database: Database) -> None:
    """The sample was corrected again, and `supersededBy` of its result is the id of the first correction."""
    (sample,) = await database.submit("one", 1)
    await database.compute([sample], status=Status.SUPERSEDED.value, superseded_by="deleted")
    await correct(database, sample)

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (2, 1)


@pytest.mark.parametrize("status", [Status.SUPERSEDED, Status.FAILED])
async def test_a_current_result_of_a_corrected_sample_is_final(database: Database, status: Status) -> None:
    """Lists do not contain it."""
    (sample,) = await database.submit("one", 1)
    correction = await correct(database, sample)
    await database.compute([sample], status=status.value, superseded_by=correction.id)

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (2, 0)


async def test_a_rejected_sample_that_was_corrected_needs_no_result(database: Database) -> None:
    """It had its state when it arrived."""
    (rejected,) = await database.submit("one", 1, b'{"time_stamp": "never", "data": []}')
    await correct(database, rejected)

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (1, 0)
    assert await database.store().findings() == []


async def test_a_sample_without_any_result_is_found_once(database: Database) -> None:
    """It is among the samples that were submitted, and among those that were corrected."""
    (sample,) = await database.submit("one", 1)
    await correct(database, sample)

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (2, 1)


async def test_many_corrections_are_divided_into_windows(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are checked."""
    monkeypatch.setattr(audit_module, "MAX_WINDOW_CORRECTIONS", 2)
    samples = await database.submit("one", 9)
    await database.compute(samples)
    for sample in samples:
        await correct(database, sample)

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (18, 9)
    assert await database.triggered(samples) == [sample.id for sample in samples]


async def test_a_deleted_sample_needs_no_superseded_result(database: Database) -> None:
    """Its correction remains."""
    (sample,) = await database.submit("one", 1)
    await database.compute([sample])
    await correct(database, sample)
    name = database.firestore.name(document_paths.sample("one", sample.id))
    await database.writer.write(encoding.to_delete(name))

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (1, 0)
