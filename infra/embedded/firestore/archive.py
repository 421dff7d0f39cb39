"""Back up, restore, check, export and import the file of the embedded Firestore.

`backup`, `check` and `export` read one consistent state, and may run while the server runs. `import`, `restore` and
`accept-loss` need exclusive access to the file. Exported documents are JSON lines, as in Firestore's REST API.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from google.protobuf import json_format

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.data_file import consistency, file_check, restore
from infra.embedded.firestore.data_file.data_marker import DataMarker, sync_folder
from infra.embedded.firestore.data_file.file_format import FORMAT_VERSION, UnusableFile, format_version
from infra.embedded.firestore.data_file.lock_file import LockFile, StorageInUse
from infra.embedded.firestore.encoding import checksums, path_encoding
from infra.embedded.firestore.errors import is_damage
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.definitions import Definitions, InvalidDefinitions
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes.document_import import ImportRefused, check_is_empty, import_documents
from runtime import interruption, standard_streams

BACKUP_PAGES_PER_STEP = 1_000

_DOCUMENTS = "SELECT path, version FROM documents ORDER BY collection_number, path"
_VERSION = "SELECT document, {checksum} FROM versions WHERE sequence = ?"


class ArchiveError(Exception):
    """A file or a line cannot be read or written. The message names the file or line and the problem."""


def backup(source: Path, target: Path) -> None:
    """Copy the data file `source` to the new file `target`. The server may run."""
    try:
        with (
            contextlib.closing(_open(source)) as live,
            _new_file(target) as unfinished,
            contextlib.closing(sqlite3.connect(unfinished)) as copy,
        ):
            copy.execute("PRAGMA journal_mode = OFF")  # a copy that fails is deleted
            live.execute("BEGIN")  # all pages are copied from this state, even if commits follow
            live.execute("SELECT 1 FROM documents").fetchone()
            live.backup(copy, pages=BACKUP_PAGES_PER_STEP)
            # SQLite opens a file in WAL mode only if it can write into the folder of the file.
            copy.execute("PRAGMA journal_mode = DELETE")
        sync_folder(target.parent)
    except sqlite3.Error as error:
        raise ArchiveError(f"{source} cannot be copied to {target}: {error}") from error


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[Path]:
    """Create a file that only its owner can read. It has another name, which is returned, until it is complete.

    A failed attempt leaves no file, and a killed one does not prevent the next.
    """
    if target.exists():
        raise ArchiveError(f"{target} already exists; choose another file")
    if target.is_symlink():
        raise ArchiveError(
            f"{target} is a link to {os.path.realpath(target)}, which does not exist: mount its disk or choose another "
            "file"
        )
    path = target.with_name(target.name + ".partial")
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_own = os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except OSError:
            is_own = False
        if not is_own:  # also if another backup has renamed or deleted the file after it was opened
            raise ArchiveError(f"another backup to {target} is running")
        try:
            file.truncate()  # a killed backup leaves an incomplete copy
            yield path
        except BaseException:
            path.unlink()
            raise
        path.rename(target)


def export_documents(source: Path, target: TextIO) -> int:
    """Write each document of a file as a line of JSON, and return the number of documents.

    Report each damaged document on standard error, and leave it out. Raise ArchiveError at the end if there was one.
    """
    count = damaged = 0
    with contextlib.closing(_open(source)) as live:
        checksum = "checksum" if format_version(live, source) == FORMAT_VERSION else "NULL"
        live.execute("BEGIN")
        for path, sequence in live.execute(_DOCUMENTS):
            document = _intact(live, _VERSION.format(checksum=checksum), sequence)
            if document is None:
                damaged += 1
                sys.stderr.write(f"the document {'/'.join(path_encoding.decode_path(path))} is damaged\n")
                continue
            json.dump(json_format.MessageToDict(m.Document.FromString(document)), target, ensure_ascii=False)
            target.write("\n")
            count += 1
    target.flush()
    if damaged:
        raise ArchiveError(f"exported {count} documents, without {damaged} damaged documents")
    return count


def _intact(connection: sqlite3.Connection, query: str, sequence: int) -> bytes | None:
    """Return the document of a version, or None if the document or a page of the file is damaged."""
    try:
        row = connection.execute(query, (sequence,)).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return None
    return row[0] if row and checksums.matches(row[0], sequence, row[1]) else None


def check(path: Path) -> int:
    """Print every problem of a file. Return 1 if the file has problems, otherwise 0."""
    count = 0
    with contextlib.closing(_open(path)) as live:
        if format_version(live, path) != FORMAT_VERSION:
            raise ArchiveError(f"{path} has an older format: start the server once to upgrade it")
        live.execute("BEGIN")
        for problem in consistency.problems(live):
            sys.stdout.write(f"{problem}\n")
            count += 1
    sys.stderr.write(f"{count} problems found\n" if count else "no problems found\n")
    return int(count > 0)


async def import_lines(lines: TextIO, target: Path, index_definitions: Definitions) -> int:
    """Store the documents in JSON lines in a new data file, and return the number of documents.

    The file has another name until it is complete. An import that fails or is killed therefore imports nothing, and can
    be repeated.

    Raise StorageInUse if a server uses the data file, ImportRefused if the data file has documents, and ArchiveError if
    the documents cannot be written.
    """
    path, marker = file_check.resolve(target), DataMarker.of(target)
    lock = LockFile(path)
    try:
        if file_check.check(path, marker):
            with contextlib.closing(_open(path)) as existing:
                check_is_empty(existing, path)
        with restore.unfinished_import(path) as unfinished:
            storage = Storage(unfinished, definitions=index_definitions)
            try:
                count = await import_documents(lines, storage)
            finally:
                await storage.close()
            if file_check.size_of(file_check.log_of(unfinished)):  # SQLite ignores this error when it closes a file
                raise ArchiveError(f"the documents cannot be written to {path}. Does the disk have free space?")
            restore.install_new(unfinished, path, marker)
        return count
    finally:
        lock.close()


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise ArchiveError(f"the data file {path} does not exist")
    with contextlib.ExitStack() as refused:
        connection = refused.enter_context(contextlib.closing(file_check.connect(path, "mode=ro")))
        if format_version(connection, path):
            refused.pop_all()
            return connection
    raise ArchiveError(f"the data file {path} is empty")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.firestore.archive", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    backup_parser = commands.add_parser("backup", help="copy the file; the server may run")
    backup_parser.add_argument("--output", type=Path, required=True, help="new file to create")
    export_parser = commands.add_parser("export", help="write JSON lines to standard output; the server may run")
    import_parser = commands.add_parser(
        "import", help="read JSON lines from standard input into a new file; stop the server first"
    )
    import_parser.add_argument(
        "--indexes", type=Path, help="firestore.indexes.json of the server; its index exemptions apply to the import"
    )
    restore_parser = commands.add_parser("restore", help="replace the file with a backup; stop the server first")
    restore_parser.add_argument("backup", type=Path, help="file that `backup` created")
    check_parser = commands.add_parser("check", help="check documents and indexes; the server may run")
    accept_parser = commands.add_parser(
        "accept-loss", help="let the server start with this file even though changes are missing; stop the server first"
    )
    for command in (backup_parser, export_parser, import_parser, restore_parser, check_parser, accept_parser):
        command.add_argument("--data", type=Path, required=True, help="SQLite file of the server")
    return parser.parse_args()


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments()
    try:
        with interruption.ends_command():
            return _run(arguments)
    except (
        ArchiveError,
        ImportRefused,
        InvalidDefinitions,
        StorageInUse,
        UnusableFile,
        OSError,
    ) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    except sqlite3.Error as error:  # its message names no file
        sys.stderr.write(f"{arguments.data} cannot be used: {error}\n")
        return 1


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "backup":
            backup(arguments.data, arguments.output)
        case "export":
            standard_streams.use_utf_8(sys.stdout)
            sys.stderr.write(f"exported {export_documents(arguments.data, sys.stdout)} documents\n")
        case "import":
            standard_streams.use_utf_8(sys.stdin)
            index_definitions = definitions.read(arguments.indexes) if arguments.indexes else Definitions()
            count = asyncio.run(import_lines(sys.stdin, arguments.data, index_definitions))
            sys.stderr.write(
                f"imported {count} documents; the triggers of the next start receive an event for each of them\n"
            )
        case "restore":
            former = restore.restore(arguments.backup, arguments.data)
            sys.stderr.write(f"restored {arguments.data}" + (f"; the former file is {former}\n" if former else "\n"))
        case "check":
            return check(arguments.data)
        case "accept-loss":
            sys.stderr.write(f"the server will start again: {restore.accept_loss(arguments.data)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
