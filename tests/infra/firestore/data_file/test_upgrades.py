"""Files of earlier releases are upgraded after a copy; files of later releases are refused."""

import contextlib
import os
import shutil
import signal
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.cloud.firestore import FieldFilter

from infra.embedded.firestore import archive
from infra.embedded.firestore.data_file import file_format, upgrade_copy
from infra.embedded.firestore.data_file.file_format import FORMAT_VERSION, UnusableFile
from tests.infra.firestore.server_process import FirestoreProcess, write_indexes
from tests.stack import eventually

SCRIPT = Path(__file__).with_name("format_1.sql").read_text()
FIELDS = [
    {"collectionGroup": "results", "fieldPath": "raw", "indexes": []},
    {"collectionGroup": "results", "fieldPath": "expires", "ttl": True},
]
SHARD_MEAN = {
    "collectionGroup": "results",
    "fields": [{"fieldPath": "shard", "order": "ASCENDING"}, {"fieldPath": "mean", "order": "DESCENDING"}],
}


def write_old_file(path: Path) -> str:
    """Write the file of an earlier release, and return its content as SQL."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCRIPT)
    return dump(path)


def dump(path: Path) -> str:
    """Return the content of a file as SQL."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump())


def test_a_file_of_an_earlier_release_is_upgraded_and_a_copy_is_kept(own: FirestoreProcess, tmp_path: Path) -> None:
    """Documents, indexes and definitions stay. The copy has the content before the upgrade."""
    before = write_old_file(own.data)
    own.options = ["--indexes", str(write_indexes(tmp_path / "firestore.indexes.json", [SHARD_MEAN], FIELDS))]

    own.start()

    results = own.client().collection("results")
    assert {found.id: found.get("raw") for found in results.stream()} == {"0": "y", "1": "x", "3": "x"}
    sharded = results.where(filter=FieldFilter("shard", "==", 1)).order_by("mean", direction="DESCENDING")
    assert [found.id for found in sharded.stream()] == ["3", "1"]
    results.document("4").set({"shard": 1, "mean": 4, "raw": "z"})
    assert [found.id for found in sharded.stream()] == ["4", "3", "1"]
    assert own.query("PRAGMA user_version") == [(FORMAT_VERSION,)]
    assert own.query("SELECT count(*) FROM versions WHERE checksum IS NOT NULL") == [(1,)]
    assert "Building" not in own.log.read_text(), "the definitions have not changed"
    assert dump(tmp_path / "firestore.format-1.sqlite") == before


def test_commits_after_an_upgrade_survive_kill_9_and_other_programs(own: FirestoreProcess) -> None:
    """The copy of the file must not release the lock of the server."""
    write_old_file(own.data)
    own.start()
    assert own.query("PRAGMA user_version") == [(FORMAT_VERSION,)]
    own.client().document("results/4").set({})

    own.end(signal.SIGKILL)
    own.start()

    assert {found.id for found in own.client().collection("results").stream()} == {"0", "1", "3", "4"}


def test_indexes_that_changed_since_the_earlier_release_are_built(own: FirestoreProcess, tmp_path: Path) -> None:
    """The definitions add a composite index and no longer exempt a field. Queries use both new indexes."""
    write_old_file(own.data)
    fields = [{"fieldPath": "mean", "order": "ASCENDING"}, {"fieldPath": "shard", "order": "ASCENDING"}]
    index = {"collectionGroup": "results", "fields": fields}
    own.options = ["--indexes", str(write_indexes(tmp_path / "firestore.indexes.json", [index], []))]

    own.start()

    results = own.client().collection("results")
    eventually(lambda: own.query("SELECT * FROM index_builds") == [])
    assert [found.id for found in results.where(filter=FieldFilter("raw", "==", "x")).stream()] == ["1", "3"]
    assert [found.id for found in results.order_by("mean").order_by("shard").stream()] == ["1", "3", "0"]


def test_a_file_of_a_later_release_is_refused_with_what_to_do(own: FirestoreProcess) -> None:
    """The file is not changed."""
    own.start()
    own.client().document("a/b").set({})
    own.end()
    with contextlib.closing(sqlite3.connect(own.data)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("ALTER TABLE versions ADD COLUMN future INTEGER NOT NULL DEFAULT 1")
    before = dump(own.data)

    with pytest.raises(AssertionError, match="was written by a newer release: it has format version 99"):
        own.start()

    assert "archive restore COPY" in own.log.read_text()
    assert dump(own.data) == before


def test_a_copy_that_was_interrupted_continues(tmp_path: Path) -> None:
    """Each start makes progress, even if the supervisor ends all of them early."""
    path = tmp_path / "firestore.sqlite"
    write_old_file(path)
    size = 3 * upgrade_copy.CHUNK_BYTES
    with path.open("r+b") as file:
        file.truncate(size)  # zeros after the database: SQLite ignores them
    partial = tmp_path / "firestore.format-1.sqlite.partial"
    with partial.open("wb") as file:
        file.write(b"\xff" * upgrade_copy.CHUNK_BYTES)
        file.write(b"\xff" * upgrade_copy.CHUNK_BYTES)

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        os.utime(path, ns=(0, 0))
        copy = upgrade_copy.copy_before_upgrade(connection, path, 1)

    assert copy.read_bytes() == b"\xff" * upgrade_copy.CHUNK_BYTES + path.read_bytes()[upgrade_copy.CHUNK_BYTES :]
    assert not partial.exists()


def test_a_copy_of_an_earlier_state_starts_again(tmp_path: Path) -> None:
    """The file has changed since the interrupted copy."""
    path = tmp_path / "firestore.sqlite"
    write_old_file(path)
    partial = tmp_path / "firestore.format-1.sqlite.partial"
    partial.write_bytes(b"\xff" * path.stat().st_size)
    os.utime(partial, ns=(0, 0))

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        copy = upgrade_copy.copy_before_upgrade(connection, path, 1)

    assert copy.read_bytes() == path.read_bytes()


def test_a_copy_that_would_lack_the_log_is_not_made(tmp_path: Path) -> None:
    """A reader of an earlier state prevents that SQLite copies the log into the file."""
    path = tmp_path / "firestore.sqlite"
    write_old_file(path)
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader,
        contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0.1)) as connection,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM settings").fetchall()
        connection.execute("INSERT INTO settings VALUES ('later', 1)")

        with pytest.raises(UnusableFile, match="another process reads it"):
            upgrade_copy.copy_before_upgrade(connection, path, 1)

    assert list(tmp_path.glob("*format-1*")) == []


def test_a_disk_without_space_for_the_copy_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much is missing. The file stays as it is."""
    path = tmp_path / "firestore.sqlite"
    before = write_old_file(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10 << 20))

    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
        pytest.raises(UnusableFile, match=r"has 10 MiB of free space, and \d+ MiB are required: free \d+ MiB"),
    ):
        upgrade_copy.copy_before_upgrade(connection, path, 1)

    assert dump(path) == before
    assert list(tmp_path.glob("*format-1*")) == []


def test_many_entries_of_an_earlier_release_stay_where_they_are(
    own: FirestoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New entries go to another table. Queries read both, and changes and deletions apply to both."""
    own.start()
    results = own.client().collection("results")
    for number in range(4):
        results.document(str(number)).set({"n": number})
    own.end()
    with contextlib.closing(sqlite3.connect(own.data, isolation_level=None)) as connection:
        connection.execute("DROP TABLE entry_tables")
        connection.execute("PRAGMA user_version = 2")
        monkeypatch.setattr(file_format, "FEW_ENTRIES", 3)
        upgrade_copy.copy_before_upgrade(connection, own.data, 2)
        file_format.prepare(connection, 2)
    own.start()
    results = own.client().collection("results")

    results.document("4").set({"n": 4})
    results.document("3").delete()
    results.document("0").set({"n": 5})

    assert [found.id for found in results.order_by("n").stream()] == ["1", "2", "4", "0"]
    count: Any = results.where(filter=FieldFilter("n", ">", 1)).count()
    assert count.get()[0][0].value == 3
    own.end()
    assert {table for (table,) in own.query("SELECT state FROM entry_tables")} == {"closed", "open"}
    assert archive.check(own.data) == 0
