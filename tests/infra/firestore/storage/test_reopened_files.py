"""A file of an earlier start that had other options, definitions or table names."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore import FieldFilter

from tests.infra.firestore.server_process import FirestoreProcess, archive, convert_to_format_1, write_indexes
from tests.stack import eventually

EXEMPTION = {"collectionGroup": "samples", "fieldPath": "raw", "indexes": []}
MANY = list(range(50_000))


@pytest.fixture
def indexes(tmp_path: Path) -> Path:
    """Definitions that exempt a field, so that it may hold more elements than a document may have index entries."""
    return write_indexes(tmp_path / "firestore.indexes.json", [], [EXEMPTION])


def test_a_longer_retention_period_does_not_restore_pruned_versions(own: FirestoreProcess) -> None:
    """Every read of an earlier time is rejected instead of finding nothing."""
    own.options = ["--version-retention-seconds", "0"]
    own.start()
    versions: Any = own.client().collection("versions")
    versions.document("a/beneath/c").set({"n": 1})
    before = versions.document("a").set({"n": 1}).update_time
    versions.document("a/beneath/c").delete()
    versions.document("a").set({"n": 2})

    eventually(lambda: own.query("SELECT count(*) FROM versions WHERE document IS NOT NULL") == [(1,)])
    own.end()
    own.options = []
    own.start()

    for read in (
        lambda: versions.document("a").get(read_time=before),
        lambda: versions.get(read_time=before),
        lambda: versions.count().get(read_time=before),
        lambda: list(versions.list_documents(read_time=before)),
        lambda: list(versions.document("a").collections(read_time=before)),
    ):
        with pytest.raises(exceptions.FailedPrecondition, match="too old"):
            read()


def test_a_document_with_too_many_entries_after_an_exemption_ends_stays(own: FirestoreProcess, indexes: Path) -> None:
    """Queries find it, and it can shrink or be deleted. Only a write with too many entries is rejected."""
    own.options = ["--indexes", str(indexes)]
    own.start()
    for name in ("samples/a", "samples/b"):
        own.client().document(name).set({"raw": MANY})
    own.end()

    own.options = []
    own.start()

    samples = own.client().collection("samples")
    found = samples.where(filter=FieldFilter("raw", "array_contains", 49_999))
    assert [each.id for each in found.stream()] == ["a", "b"]
    with pytest.raises(exceptions.InvalidArgument, match="Too many index entries"):
        samples.document("a").update({"n": 1})
    samples.document("a").set({"raw": [49_999]})
    samples.document("b").delete()
    assert [each.to_dict() for each in found.stream()] == [{"raw": [49_999]}]


def test_a_document_that_needs_an_exemption_is_exported_and_imported(
    own: FirestoreProcess, indexes: Path, tmp_path: Path
) -> None:
    """The import uses the same definitions."""
    own.options = ["--indexes", str(indexes)]
    own.start()
    own.client().document("samples/a").set({"raw": MANY})
    own.end()

    lines = archive("export", "--data", str(own.data))
    own.data = tmp_path / "imported.sqlite"
    archive("import", "--data", str(own.data), *own.options, text=lines)

    own.start()
    assert own.client().document("samples/a").get().to_dict() == {"raw": MANY}


def test_a_file_with_the_former_table_names_is_upgraded(own: FirestoreProcess) -> None:
    """Tables and columns are renamed at the first start; documents and index entries stay."""
    own.start()
    own.client().document("results/a").set({"n": 1})
    own.end()
    with contextlib.closing(sqlite3.connect(own.data)) as connection:
        convert_to_format_1(connection)
        connection.execute("ALTER TABLE collections RENAME COLUMN number TO id")
        connection.execute("ALTER TABLE collections RENAME TO kinds")
        for table in ("versions", "documents", "history", "entries"):
            connection.execute(f"ALTER TABLE {table} RENAME COLUMN collection_number TO kind")
        connection.execute("ALTER TABLE change_consumers RENAME TO holders")
        connection.commit()

    own.start()

    own.client().document("results/b").set({"n": 2})
    found = own.client().collection("results").where(filter=FieldFilter("n", ">", 0)).get()
    assert [each.id for each in found] == ["a", "b"]
