"""A stored document whose bytes have changed is never returned. The error names the document."""

import asyncio
import contextlib
import io
import json
import sqlite3
from functools import partial
from pathlib import Path
from unittest.mock import AsyncMock

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.firestore import ExistsOption
from google.cloud.firestore_v1.base_query import FieldFilter

from infra.embedded.eventarc import cloudevent
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.errors import unavailable
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change
from infra.embedded.firestore.writes import commits, document_write, maintenance, time_to_live
from tests.infra.firestore.data_file.data_files import archive, damage_error, damage_page, use
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, write_indexes
from tests.stack import PATIENCE_SECONDS

TEXT = "unique-text-of-the-document"


INDEXES = "firestore.indexes.json"


@pytest.fixture(scope="module")
def damaged_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server with the documents t/a, t/b and t/c. One bit of t/b has flipped on the disk."""
    folder = tmp_path_factory.mktemp("damaged")
    exemption = {"collectionGroup": "t", "fieldPath": "text", "indexes": []}
    firestore = FirestoreProcess(folder, "--indexes", str(write_indexes(folder / INDEXES, [], [exemption])))
    firestore.start()
    for name in "abc":
        firestore.client().document(f"t/{name}").set({"text": f"{TEXT}-{name}", "n": 1})
    firestore.end()
    firestore.close()
    raw = bytearray(firestore.data.read_bytes())
    position = raw.index(f"{TEXT}-b".encode())
    assert raw.count(f"{TEXT}-b".encode()) == 1
    raw[position + 3] ^= 4
    firestore.data.write_bytes(raw)
    return folder


@pytest.fixture
def damaged(own: FirestoreProcess, damaged_folder: Path) -> FirestoreProcess:
    """A server with a copy of the damaged data."""
    use(own, damaged_folder)
    own.options = ["--indexes", str(own.data.with_name(INDEXES))]
    own.start()
    return own


def test_reads_and_queries_fail_with_the_name_of_the_document(damaged: FirestoreProcess) -> None:
    """Other documents are served."""
    collection = damaged.client().collection("t")

    with pytest.raises(exceptions.DataLoss, match="The stored document t/b is damaged"):
        collection.document("b").get()
    with pytest.raises(exceptions.DataLoss, match="The stored document t/b is damaged"):
        list(collection.stream())
    assert [found.id for found in collection.limit(1).stream()] == ["a"]
    assert collection.document("c").get().get("text") == f"{TEXT}-c"
    assert "The stored document t/b is damaged" in damaged.log.read_text()


def test_a_write_that_needs_the_damaged_document_fails_alone(damaged: FirestoreProcess) -> None:
    """Its index entries are unknown. Other writes of the same batch succeed."""
    writes = [m.Write(update=m.Document(name=f"{ROOT}/t/{name}")) for name in "bc"]
    request = m.BatchWriteRequest(database=DATABASE, writes=writes)

    response = damaged.call("BatchWrite", request, m.BatchWriteResponse)

    assert [status.code for status in response.status] == [grpc.StatusCode.DATA_LOSS.value[0], 0]


def test_a_damaged_document_can_be_deleted_and_written_again(damaged: FirestoreProcess) -> None:
    """A delete without a precondition also removes its index entries."""
    collection = damaged.client().collection("t")

    collection.document("b").delete()
    found = [document.id for document in collection.where(filter=FieldFilter("n", "==", 1)).stream()]
    collection.document("b").set({"text": "new", "n": 2})
    archive_problems = archive("check", "--data", damaged.data, code=1).splitlines()

    assert found == ["a", "c"]
    assert [document.id for document in collection.stream()] == ["a", "b", "c"]
    assert archive_problems[0].startswith("the document t/b is damaged (sequence 2)")  # kept until it is pruned
    assert archive_problems[1:] == ["1 problems found"]


def test_a_delete_with_a_precondition_does_not_remove_a_damaged_document(damaged: FirestoreProcess) -> None:
    """Whether the precondition holds is unknown."""
    document = damaged.client().document("t/b")

    with pytest.raises(exceptions.DataLoss):
        document.delete(option=ExistsOption(exists=True))


def test_a_collection_whose_first_document_is_damaged_is_listed(damaged: FirestoreProcess) -> None:
    """The list contains only names, so the content of the document does not matter."""
    client = damaged.client()
    client.document("t/a").delete()

    assert [collection.id for collection in client.collections()] == ["t"]


def test_the_check_names_the_damaged_document(damaged: FirestoreProcess) -> None:
    """Also while the server runs. A backup of such a file is not restored."""
    backup = damaged.data.with_name("backup.sqlite")
    archive("backup", "--data", damaged.data, "--output", backup)

    assert "the document t/b is damaged" in archive("check", "--data", damaged.data, code=1)
    damaged.end()
    assert "the document t/b is damaged" in archive("restore", backup, "--data", damaged.data, code=1)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("DELETE FROM entries WHERE key = (SELECT max(key) FROM entries)", "1 index entries of the document t/"),
        (
            "INSERT INTO entries SELECT collection_number, CAST(key || x'00' AS BLOB), size FROM entries LIMIT 1",
            "1 index entries of collection t in projects/p/databases/(default) have no document",
        ),
        (
            "UPDATE documents SET version = (SELECT max(version) FROM documents) "
            "WHERE path = (SELECT min(path) FROM documents)",
            "the table documents points to a missing version of t/",
        ),
    ],
    ids=["a missing entry", "an entry without a document", "a version of another document"],
)
def test_the_check_finds_a_single_wrong_row(own: FirestoreProcess, ended: Path, damage: str, problem: str) -> None:
    """SQLite's own check finds no problem in such a file."""
    use(own, ended)
    with contextlib.closing(sqlite3.connect(own.data)) as connection, connection:
        assert connection.execute(damage).rowcount == 1

    assert problem in archive("check", "--data", own.data, code=1)


async def test_a_damaged_document_does_not_stop_the_expiration_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if there are as many damaged documents as one step deletes. They stay, because they cannot be deleted."""
    monkeypatch.setattr(time_to_live, "BATCH_SIZE", 2)
    documents = [m.Document(name=f"{ROOT}/t/{name}") for name in "abcd"]
    for document in documents:
        document.fields["at"].timestamp_value.CopyFrom(m.timestamp(0))
    writes = [document_write.prepare(m.Write(update=document), DATABASE) for document in documents]
    storage = Storage(tmp_path / "firestore.sqlite", definitions=Definitions(ttl_fields={"t": ("at",)}))
    try:
        await storage.write(partial(commits.commit, writes=writes, check_conflicts=commits.no_conflicts))
        damage = "UPDATE versions SET document = x'00' WHERE sequence <= 2"
        await storage.execute(lambda connection: connection.execute(damage).rowcount)

        await time_to_live.delete_expired(storage, "t", ("at",))

        found = await storage.read(lambda connection: connection.execute("SELECT version FROM documents").fetchall())
        assert found == [(1,), (2,)]
    finally:
        await storage.close()


@pytest.mark.parametrize("error", [damage_error(), unavailable("The disk cannot read the data file.")])
async def test_documents_expire_although_a_damaged_page_stops_the_pruning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """No expired document is served, until an operator has moved the documents to a new file.

    The read check has logged the problem. Maintenance does not log it again every 5 s.
    """
    monkeypatch.setattr(maintenance, "prune", AsyncMock(side_effect=error))
    monkeypatch.setattr(maintenance, "INTERVAL_SECONDS", 0.01)
    document = m.Document(name=f"{ROOT}/t/a")
    document.fields["at"].timestamp_value.CopyFrom(m.timestamp(0))
    write = document_write.prepare(m.Write(update=document), DATABASE)
    storage = Storage(tmp_path / "firestore.sqlite", definitions=Definitions(ttl_fields={"t": ("at",)}))
    await storage.write(partial(commits.commit, writes=[write], check_conflicts=commits.no_conflicts))

    task = asyncio.create_task(maintenance.run_maintenance(storage))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await storage.read(lambda connection: connection.execute("SELECT 1 FROM documents").fetchone()):
            pass
    task.cancel()
    await storage.close()

    assert "Maintenance failed" not in caplog.text


def export(data: Path) -> tuple[list[str], list[str]]:
    """Export a damaged file. Return the lines with documents, and the other lines."""
    lines = archive("export", "--data", data, code=1).splitlines()
    documents = [line for line in lines if line.startswith("{")]
    return documents, [line for line in lines if line not in documents]


def test_an_export_names_the_damaged_document_and_contains_all_others(damaged: FirestoreProcess) -> None:
    """It fails at its end. With the damaged content, an import would give this content a new checksum."""
    documents, problems = export(damaged.data)

    assert [json.loads(line)["name"][-3:] for line in documents] == ["t/a", "t/c"]
    assert problems == ["the document t/b is damaged", "exported 2 documents, without 1 damaged documents"]


def test_all_documents_outside_a_damaged_page_can_be_moved_to_a_new_file(
    own: FirestoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite cannot read the page. The latest backup does not have the documents that were written after it."""
    own.start()
    names = {f"{number:02}" for number in range(60)}
    batch = own.client().batch()
    for name in names:
        batch.set(own.client().document(f"t/{name}"), {"text": f"text-{name}-" + "x" * 500})
    batch.commit()
    own.end()
    damage_page(own.data, b"text-30-")

    documents, problems = export(own.data)
    own.data = own.data.with_name("new.sqlite")
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(documents)))
    archive("import", "--data", own.data)
    own.start()

    damaged = {problem[-13:-11] for problem in problems[:-1]}
    assert "30" in damaged
    assert len(damaged) < 10
    assert {document.id for document in own.client().collection("t").stream()} == names - damaged


def test_an_event_of_a_damaged_document_has_no_body() -> None:
    """The function then reads the document, and gets the error."""
    intact = m.Document(name=f"{ROOT}/t/a").SerializeToString()

    assert cloudevent.body(Change(1, 1, f"{ROOT}/t/a", None, b""), 1000) == b""
    assert cloudevent.body(Change(2, 1, f"{ROOT}/t/a", b"", intact), 1000) == b""
    assert cloudevent.body(Change(2, 1, f"{ROOT}/t/a", None, intact), 1000) != b""
