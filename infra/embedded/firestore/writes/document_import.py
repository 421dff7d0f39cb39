"""The import of exported documents into an empty data file.

Imported documents keep their create and update times, and are stored in the order of their update times. Readers that
remember a time can therefore continue, and documents can store the update times of other documents.

The triggers of the next start receive an event for each imported document, because some of these events may not have
been delivered before the export.
"""

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from google.protobuf import json_format

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.storage import change_consumers, versions
from infra.embedded.firestore.storage.clock import now
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write

MAX_BATCH_DOCUMENTS = 500
MAX_BATCH_BYTES = 8 * 1024 * 1024

_INSERT = "INSERT INTO documents VALUES (?, ?, ?)"
_IN_ORDER = "SELECT document FROM documents ORDER BY update_time, rowid"


class ImportRefused(Exception):
    """The documents cannot be imported. The message says why, and nothing was imported."""


async def import_documents(lines: TextIO, storage: Storage) -> int:
    """Store the documents in JSON lines, and return the number of lines.

    Raise ImportRefused if a line is not a valid document, if two lines have the same document, if the input is empty,
    or if the file has documents already.
    """
    await storage.read(partial(check_is_empty, path=storage.path))
    count = 0
    with (
        tempfile.TemporaryDirectory(dir=storage.path.parent, prefix=f"{storage.path.name}.sorted-") as folder,
        contextlib.closing(sqlite3.connect(Path(folder) / "documents")) as sorter,
    ):
        sorter.execute("PRAGMA journal_mode = OFF")
        sorter.execute("CREATE TABLE documents (update_time INTEGER, name TEXT UNIQUE, document BLOB)")
        for number, document in enumerate(_documents(lines, now()), 1):  # validates all lines before the first write
            try:
                sorter.execute(_INSERT, document)
            except sqlite3.IntegrityError as error:
                raise ImportRefused(f"line {number}: an earlier line has the document {document[1]} too") from error
        if sorter.execute("SELECT 1 FROM documents").fetchone() is None:  # for example, the export has failed
            raise ImportRefused("the input has no documents, so nothing was imported")
        await storage.execute(change_consumers.begin_import)
        for batch in _batches(sorter):
            await storage.write(partial(commits.restore, documents=batch))
            count += len(batch)
    return count


def check_is_empty(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ImportRefused if a data file has documents already, or had documents."""
    if versions.newest(connection) != (0, 0):
        raise ImportRefused(f"{path} already contains documents: import into a new file")


def _documents(lines: TextIO, latest: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield update time, name and bytes of each document. Missing times and times after `latest` become `latest`."""
    for number, line in enumerate(lines, 1):
        try:
            document = json_format.ParseDict(json.loads(line), m.Document())
            _prepare(document)
        except (ValueError, json_format.ParseError, StatusError) as problem:
            raise ImportRefused(f"line {number}: {problem}") from problem
        update_time = min(m.microseconds(document.update_time) or latest, latest)
        create_time = min(m.microseconds(document.create_time) or update_time, update_time)
        document.update_time.CopyFrom(m.timestamp(update_time))
        document.create_time.CopyFrom(m.timestamp(create_time))
        yield update_time, document.name, document.SerializeToString()


def _prepare(document: Any) -> document_write.PreparedWrite:
    database = resource_names.parse_database(resource_names.parse(document.name).database)
    return document_write.prepare(m.Write(update=document), database)


def _batches(sorter: sqlite3.Connection) -> Iterator[Sequence[document_write.PreparedWrite]]:
    batch: list[document_write.PreparedWrite] = []
    size = 0
    for (raw,) in sorter.execute(_IN_ORDER):
        batch.append(_prepare(m.Document.FromString(raw)))
        size += len(raw)
        if len(batch) == MAX_BATCH_DOCUMENTS or size > MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
