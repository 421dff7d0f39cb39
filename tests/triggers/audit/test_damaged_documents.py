"""A damaged document of one submitter does not stop the audit of others."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

import grpc
import grpc.aio
import pytest

from infra.embedded.firestore.api.firestore_server import FirestoreServer
from infra.embedded.firestore.storage.storage import Storage
from storage.documents import Header, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import DamagedData, DamagedDocument, call_error
from storage.firestore.messages import Document, StructuredQuery
from tests.triggers.audit.conftest import Database
from triggers.audit import audit_reads
from triggers.audit.audit_store import AuditStore


class Machine:
    """A Firestore with its data file, and one submitter whose documents a test damages."""

    def __init__(self, storage: Storage, database: Database) -> None:
        self.database = database
        self._storage = storage

    async def damage(self, path: str) -> None:
        """Change the checksum of a document."""
        name = self.database.firestore.name(path).encode()
        change = "UPDATE versions SET checksum = checksum + 1 WHERE instr(document, ?)"
        await self._storage.execute(lambda connection: connection.execute(change, (name,)))

    async def submit(self, submitter: str) -> tuple[Header, Header]:
        """Store a sample with a result, and in another commit a sample without a result."""
        (computed,) = await self.database.submit(submitter, 1)
        (lost,) = await self.database.submit(submitter, 1)
        await self.database.compute([computed])
        return computed, lost


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A Firestore with its own data file."""
    storage = Storage(tmp_path / "firestore.sqlite")
    server = FirestoreServer(storage, "127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        database = Database(channel)
        await database.compute(await database.submit("earlier", 1))
        await database.audit().run()  # creates the indexes, which must contain the documents that a test damages
        yield Machine(storage, database)
    await server.stop()
    await storage.close()


@pytest.mark.parametrize("collection", [document_paths.result, document_paths.sample])
async def test_lost_samples_are_triggered_beside_a_damaged_document(
    machine: Machine, caplog: pytest.LogCaptureFixture, collection: Callable[[str, str], str]
) -> None:
    """The window has a damaged result, or a damaged header. The log names the document."""
    computed, lost = await machine.submit("damaged")
    _, lost_of_other = await machine.submit("other")
    path = collection("damaged", computed.id)
    await machine.damage(path)

    report = await machine.database.audit().run()
    later = await machine.database.audit().run()

    assert report is not None
    assert later is not None
    assert (report.checked, report.triggered) == (4, 2)
    assert later.checked == 0
    assert await machine.database.triggered([lost, lost_of_other]) == [lost.id, lost_of_other.id]
    assert path in caplog.text


async def test_the_first_run_starts_at_the_epoch_if_the_oldest_sample_is_damaged(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """The time of the sample is not known. Samples of other submitters can be older than this run."""
    oldest, lost = await machine.submit("damaged")
    _, lost_of_other = await machine.submit("other")
    path = document_paths.sample("damaged", oldest.id)
    await machine.damage(path)
    await machine.database.writer.write(encoding.to_delete(machine.database.firestore.name(document_paths.audit())))

    report = await machine.database.audit().run()

    assert report is not None
    assert report.triggered == 2
    assert await machine.database.triggered([lost, lost_of_other]) == [lost.id, lost_of_other.id]
    assert f"audit: the first run starts at the epoch: Firestore returned DATA_LOSS: The stored document {path}" in (
        caplog.text
    )


async def test_a_damaged_finding_does_not_stop_the_check_of_others(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """New samples are checked too. The log names the finding."""
    for submitter in ("one", "two"):
        await machine.submit(submitter)
        await machine.database.audit().run()
    damaged, _ = await machine.database.store().findings()
    path = document_paths.audit_finding(damaged.id)
    await machine.damage(path)
    _, lost = await machine.submit("three")

    report = await machine.database.audit().run()

    assert report is not None
    assert (report.checked, report.triggered, report.missing) == (2, 2, 1)
    assert await machine.database.triggered([lost]) == [lost.id]
    findings = await machine.database.store().findings()
    assert [(each.submitter, each.checks) for each in findings] == [("two", 2), ("three", 1)]
    assert path in caplog.text


async def test_a_run_ends_if_too_many_reads_contain_damaged_documents(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run can have this number of such reads. The samples that it did not check are checked later."""
    computed, lost = await machine.submit("damaged")
    await machine.damage(document_paths.sample("damaged", computed.id))
    store = machine.database.store()
    audit = machine.database.audit(store=store)

    with monkeypatch.context() as patch:
        patch.setattr(audit_reads, "MAX_FAILED_READS", 3)
        with pytest.raises(DamagedDocument):
            await audit.run()
    store.reads.failed = audit_reads.MAX_FAILED_READS
    report = await audit.run()

    assert report is not None
    assert await machine.database.triggered([lost]) == [lost.id]


class DamagedIndex(Firestore):
    """A client of a Firestore that has a damaged page in the index of a query."""

    queries = 0

    async def documents(self, parent: str, query: StructuredQuery, read_time: datetime | None = None) -> list[Document]:
        """Fail if the query reads samples."""
        if query.from_[0].collection_id != document_paths.SAMPLES:
            return await super().documents(parent, query, read_time)
        self.queries += 1
        message = "The data file is damaged. Restore a backup of the data file."
        raise call_error(
            grpc.aio.AioRpcError(grpc.StatusCode.DATA_LOSS, grpc.aio.Metadata(), grpc.aio.Metadata(), message)
        )


async def test_a_damaged_index_ends_the_run_at_its_first_read(database: Database, channel: grpc.aio.Channel) -> None:
    """A query of a shorter window fails too."""
    await database.compute(await database.submit("one", 1))
    await database.audit().run()
    await database.submit("one", 1)
    firestore = DamagedIndex(channel, database.firestore.database, timeout_seconds=30)

    with pytest.raises(DamagedData):
        await database.audit(store=AuditStore(firestore, database.writer, shards=1)).run()

    assert firestore.queries == 1


async def test_the_other_samples_of_a_finding_are_checked(machine: Machine) -> None:
    """The damaged result is a result, and it is not healed."""
    lost = await machine.database.submit("damaged", 3)
    await machine.database.audit().run()
    await machine.database.compute(lost[:2])
    await machine.damage(document_paths.result("damaged", lost[0].id))

    report = await machine.database.audit().run()

    assert report is not None
    assert (report.healed, report.triggered, report.missing) == (1, 1, 1)
    assert [finding.sample_ids for finding in await machine.database.store().findings()] == [(lost[2].id,)]


async def test_a_result_with_an_unknown_status_does_not_stop_the_audit(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A later release can have stored it. The sample is not triggered again."""
    unknown, lost = await database.submit("one", 2)
    await database.compute([unknown], status="UNKNOWN")

    report = await database.audit().run()

    assert report is not None
    assert report.triggered == 1
    assert await database.triggered([unknown, lost]) == [lost.id]
    assert f"audit: the result of sample {unknown.id} of one has no known status" in caplog.text
