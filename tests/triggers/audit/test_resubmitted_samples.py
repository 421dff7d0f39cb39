"""A sample can have the id of an earlier sample, whose result or tombstone remains."""

from datetime import timedelta

from storage.documents import Tombstone, document_paths
from storage.firestore import encoding
from tests.triggers.audit.conftest import Database


async def test_the_result_of_an_earlier_sample_does_not_count(database: Database) -> None:
    """The earlier sample with the same idempotency key has expired, and its result is kept."""
    keyed = b'{"time_stamp": "2026-11-27T00:00:00Z", "data": [%d], "idempotency_key": "key"}'
    (earlier,) = await database.submit("one", 1, keyed % 1)
    await database.compute([earlier])
    await database.writer.write(encoding.to_delete(database.firestore.name(document_paths.sample("one", earlier.id))))
    await database.audit().run()
    (later,) = await database.submit("one", 1, keyed % 2)

    await database.audit().run()

    assert later.id == earlier.id
    assert await database.triggered([later]) == [later.id]


async def test_a_sample_that_was_submitted_again_needs_a_result(database: Database) -> None:
    """The tombstone of the earlier sample is none. A tombstone that is later than the sample deletes it."""
    again, deleted = await database.submit("one", 2)
    for header, seconds in ((again, -1), (deleted, 1)):
        assert header.submitted_at is not None
        deleted_at = header.submitted_at + timedelta(seconds=seconds)
        tombstone = Tombstone("one", header.id, header.sha256, header.shard, deleted_at, "")
        name = database.firestore.name(document_paths.result("one", header.id))
        await database.writer.write(encoding.to_write(name, tombstone.fields()))

    report = await database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered) == (2, 1)
    assert await database.triggered([again, deleted]) == [again.id]


async def test_a_deleted_sample_needs_no_result(database: Database) -> None:
    """It was deleted after it was found."""
    (sample,) = await database.submit("one", 1)
    await database.audit().run()
    name = database.firestore.name(document_paths.sample("one", sample.id))
    await database.writer.write(encoding.to_delete(name))

    report = await database.audit().run()

    assert report is not None
    assert report.missing == 0
    assert await database.store().findings() == []
