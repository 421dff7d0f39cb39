"""Acknowledged commits survive kill -9; start, stop, archive and memory of the process."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from google.cloud.firestore import FieldFilter

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import path_encoding
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.indexes.entries import DocumentIndexer
from runtime import interruption
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, archive, call_count
from tests.ports import free_port
from tests.stack import PATIENCE_SECONDS


def test_commits_survive_kill_9_after_other_programs_have_opened_the_file(own: FirestoreProcess) -> None:
    """SQLite in another program would delete the write-ahead log if the server did not hold its lock all the time."""
    port = free_port()
    own.options = ["--http-port", str(port)]
    own.start()
    own.client().document("a/1").set({})
    assert call_count(port, "Commit") == 1  # the metrics contain figures of the file
    assert own.query("SELECT count(*) FROM documents") == [(1,)]
    own.client().document("a/2").set({})

    own.end(signal.SIGKILL)
    own.start()

    assert {found.id for found in own.client().collection("a").stream()} == {"1", "2"}


def test_acknowledged_commits_survive_kill_9(own: FirestoreProcess) -> None:
    """Clients write pairs of documents while the server is killed. Pairs stay complete, and commit times increase.

    Merges of index entries run all the time.
    """
    own.program = ("-m", "tests.infra.firestore.small_entry_tables")
    acknowledged: list[int] = []
    times: list[int] = []
    for attempt in range(3):
        own.start()
        stop = threading.Event()

        def work(first: int, stop: threading.Event = stop) -> None:
            for number in range(first, first + 100_000, 8):
                writes = [m.Write(update=m.Document(name=f"{ROOT}/{kind}/{number}")) for kind in ("left", "right")]
                for write in writes:
                    write.update.fields["n"].integer_value = number
                request = m.CommitRequest(database=DATABASE, writes=writes)
                try:
                    response = own.call("Commit", request, m.CommitResponse)
                except grpc.RpcError:
                    return
                acknowledged.append(number)
                times.append(m.microseconds(response.commit_time))

        threads = [threading.Thread(target=work, args=(attempt * 1_000_000 + index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        enough = len(acknowledged) + 100
        while len(acknowledged) < enough:
            time.sleep(0.01)
        own.end(signal.SIGKILL)
        for thread in threads:
            thread.join()
        latest = max(times)
        own.start()
        client = own.client()
        left = {int(found.id) for found in client.collection("left").stream()}
        right = {int(found.get("n")) for found in client.collection("right").order_by("n").stream()}
        assert left == right, "half of a commit, or an index that does not match its documents"
        assert left >= set(acknowledged)
        assert client.document("after/kill").set({"n": attempt}).update_time.timestamp() * 1_000_000 > latest
        own.end(signal.SIGKILL)
        assert own.query("PRAGMA integrity_check") == [("ok",)]
        assert own.entries() == sorted(expected_entries(own))
    assert len(set(times)) == len(times)


def expected_entries(firestore: FirestoreProcess) -> list[tuple[int, bytes, int]]:
    """Return the index entries that the documents of a file require."""
    found = []
    collection_ids = dict(firestore.query("SELECT number, collection_id FROM collections"))
    current = (
        "SELECT d.collection_number, d.path, v.document FROM documents d JOIN versions v ON v.sequence = d.version"
    )
    for number, path, document in firestore.query(current):
        indexer = DocumentIndexer(collection_ids[number], Definitions(), {})
        keys = indexer.entries(path, path_encoding.decode_path(path)[-1], m.Document.FromString(document))
        found += [(number, key, size) for key, size in keys.items()]
    return found


def test_sigint_stops_the_server_with_exit_code_0(own: FirestoreProcess) -> None:
    """While a client is connected. listen/test_stream.py tests the same with open streams."""
    own.start()
    client = own.client()
    client.document("a/b").set({})

    code = own.end(signal.SIGINT)

    assert code == 0
    assert own.log.read_text().splitlines()[-1].endswith("Firestore is stopping")


def test_a_port_or_file_in_use_is_reported_in_one_line(own: FirestoreProcess, tmp_path: Path) -> None:
    """With exit code 1 and without a traceback."""
    own.start()
    for port, data, words in (
        (own.port, tmp_path / "other.sqlite", "Address already in use"),
        (0, own.data, "in use by another process"),
    ):
        command = [sys.executable, "-m", "infra.embedded.firestore", "--port", str(port), "--data", str(data)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)

        assert second.returncode == 1
        assert words in second.stderr
        assert len(second.stderr.splitlines()) == 1


def test_a_file_is_archived_while_in_use_and_imported_again(own: FirestoreProcess, tmp_path: Path) -> None:
    """A backup and an export hold every document. A server on either finds them by their fields."""
    own.start()
    documents = {f"{number}": {"n": number, "raw": b"\0\xff", "list": [1, 2.5, None]} for number in range(700)}
    batch = own.client().batch()
    for name, fields in documents.items():
        batch.create(own.client().document(f"archived/{name}"), fields)
    batch.commit()

    archive("backup", "--data", str(own.data), "--output", str(tmp_path / "copy.sqlite"))
    lines = archive("export", "--data", str(own.data))
    archive("import", "--data", str(tmp_path / "imported.sqlite"), text=lines)
    own.end()

    for name in ("copy.sqlite", "imported.sqlite"):
        own.data = tmp_path / name
        own.start()
        query = own.client().collection("archived").where(filter=FieldFilter("n", ">=", 0))
        assert {found.id: found.to_dict() for found in query.stream()} == documents
        own.end()


def test_documents_are_archived_as_utf_8_in_every_locale(
    own: FirestoreProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export had the encoding of the locale. It could not be imported on another machine."""
    own.start()
    own.client().document("archived/utf-8").set({"place": "Zürich"})
    command = [sys.executable, "-m", "infra.embedded.firestore.archive"]

    for encoding in ("ascii", "iso-8859-1", "utf-8"):
        monkeypatch.setenv("PYTHONIOENCODING", encoding)
        exported = subprocess.run([*command, "export", "--data", str(own.data)], capture_output=True, check=True).stdout
        imported = [*command, "import", "--data", str(tmp_path / encoding)]
        subprocess.run(imported, input=exported, capture_output=True, check=True)

        assert "Zürich".encode() in exported
        assert "Zürich".encode() in (tmp_path / encoding).read_bytes()


def test_an_export_ends_silently_if_nothing_reads_its_output(own: FirestoreProcess) -> None:
    """The user has piped it to `head`."""
    own.start()
    own.client().document("archived/large").set({"raw": os.urandom(900_000)})
    own.client().document("archived/other").set({"raw": os.urandom(900_000)})
    command = [sys.executable, "-m", "infra.embedded.firestore.archive", "export", "--data", str(own.data)]

    export = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert export.stdout is not None
    assert export.stderr is not None
    export.stdout.read(1)
    export.stdout.close()

    assert export.stderr.read() == b""
    assert export.wait(PATIENCE_SECONDS) == interruption.BROKEN_PIPE_EXIT_CODE
    export.stderr.close()


def test_memory_does_not_grow_with_the_stored_documents(own: FirestoreProcess) -> None:
    """A process writes and reads 40 MB of documents with less than 300 MB of memory."""
    own.start()
    for batch in range(40):
        writes = []
        for number in range(10):
            write = m.Write(update=m.Document(name=f"{ROOT}/large/{batch}-{number}"))
            write.update.fields["raw"].bytes_value = os.urandom(100_000)
            writes.append(write)
        own.call("Commit", m.CommitRequest(database=DATABASE, writes=writes), m.CommitResponse)

    total = sum(len(found.get("raw")) for found in own.client().collection("large").stream())

    assert total == 40_000_000
    assert own.resident_bytes() < 300_000_000
