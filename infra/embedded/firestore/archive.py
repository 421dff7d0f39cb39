"""`python -m infra.embedded.firestore.archive`: back a file up, export it as JSON lines, import such lines.

A backup and an export are of one moment and may be made while the server runs. An import needs the file
for itself. A line is a document as the REST API of Firestore spells it.
"""

import argparse
import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from google.protobuf import json_format

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.definitions import Definitions, InvalidDefinitions
from infra.embedded.firestore.storage.storage import Storage, StorageInUse
from infra.embedded.firestore.storage.writer import Group
from infra.embedded.firestore.writes import commits, document_write

STEP = 500
STEP_BYTES = 8 * 1024 * 1024
PAGES = 1_000

_ALL = (
    "SELECT v.document FROM documents d JOIN versions v ON v.sequence = d.version ORDER BY d.collection_number, d.path"
)


class Unusable(Exception):
    """What was to be archived or imported cannot be; the message says why."""


def backup(source: Path, target: Path) -> None:
    """Copy a live file to a new one, as of one moment."""
    if target.exists():
        raise Unusable(f"{target} is there already")
    with contextlib.closing(_open(source)) as live, contextlib.closing(sqlite3.connect(target)) as copy:
        live.execute("BEGIN")  # one moment for all pages, however long it takes
        live.execute("SELECT 1 FROM documents").fetchone()
        live.backup(copy, pages=PAGES)


def export(source: Path, target: TextIO) -> int:
    """Write every document of a live file as a line of JSON; return their number."""
    count = 0
    with contextlib.closing(_open(source)) as live:
        for (raw,) in live.execute(_ALL):
            json.dump(json_format.MessageToDict(m.Document.FromString(raw)), target, ensure_ascii=False)
            target.write("\n")
            count += 1
    return count


async def load(source: TextIO, target: Path, index_definitions: Definitions) -> int:
    """Write the documents of JSON lines into a file that no server has open; return their number."""
    storage = Storage(target, definitions=index_definitions)
    count = 0
    try:
        for step in _steps(source):
            for _, refusal in await storage.write(partial(_write, step)):
                if refusal is not None:
                    raise Unusable(refusal.message)
            count += len(step)
    finally:
        await storage.close()
    return count


def _steps(source: TextIO) -> Iterator[list[document_write.PreparedWrite]]:
    step: list[document_write.PreparedWrite] = []
    size = 0
    for number, line in enumerate(source, 1):
        try:
            document = json_format.ParseDict(json.loads(line), m.Document())
            step.append(document_write.prepare(m.Write(update=document), resource_names.parse(document.name).database))
        except (ValueError, json_format.ParseError, StatusError) as problem:
            raise Unusable(f"line {number}: {problem}") from problem
        size += len(line)
        if len(step) == STEP or size > STEP_BYTES:
            yield step
            step, size = [], 0
    if step:
        yield step


def _write(step: list[document_write.PreparedWrite], group: Group) -> Any:
    return commits.batch_write(group, step, commits.no_conflicts)


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise Unusable(f"there is no file {path}")
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=30)


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.firestore.archive", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    copying = commands.add_parser("backup", help="copy the file while it is in use")
    copying.add_argument("--to", type=Path, required=True, help="file that is not there yet")
    exporting = commands.add_parser("export", help="write JSON lines to standard output")
    importing = commands.add_parser("import", help="read JSON lines from standard input; the server is stopped")
    importing.add_argument("--indexes", type=Path, help="firestore.indexes.json of the server: its exemptions hold")
    for command in (copying, exporting, importing):
        command.add_argument("--data", type=Path, required=True, help="file of the server")
    return parser.parse_args()


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments()
    try:
        if arguments.command == "backup":
            backup(arguments.data, arguments.to)
        elif arguments.command == "export":
            sys.stderr.write(f"{export(arguments.data, sys.stdout)} documents exported\n")
        else:
            defined = definitions.read(arguments.indexes) if arguments.indexes else Definitions()
            sys.stderr.write(f"{asyncio.run(load(sys.stdin, arguments.data, defined))} documents imported\n")
    except (Unusable, InvalidDefinitions, StorageInUse, sqlite3.Error) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
