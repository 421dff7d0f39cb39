"""Data files of a server, what damages them, and what a server or a command says about them."""

import contextlib
import io
import os
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from infra.embedded.firestore import archive as archive_command
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.data_file import restore
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess

PAGE_BYTES = 4096
TABLE_LEAF = 0x0D
"""The first byte of a page with rows of a table: https://www.sqlite.org/fileformat.html#b_tree_pages"""


def write(firestore: FirestoreProcess, first: int, count: int = 60) -> None:
    """Write documents."""
    writes = [m.Write(update=m.Document(name=f"{ROOT}/t/{number}")) for number in range(first, first + count)]
    for each in writes:
        each.update.fields["text"].string_value = "x" * 500
    firestore.call("BatchWrite", m.BatchWriteRequest(database=DATABASE, writes=writes), m.BatchWriteResponse)


def log_of(path: Path) -> Path:
    """Return the path of the write-ahead log."""
    return path.with_name(path.name + "-wal")


def use(firestore: FirestoreProcess, folder: Path) -> None:
    """Let a server use a copy of the data in `folder`."""
    shutil.copytree(folder, firestore.data.parent, dirs_exist_ok=True)


def archive(*arguments: str | Path, code: int = 0) -> str:
    """Run a command of the archive in this process, and return what it prints."""
    output = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        patch.setattr("sys.argv", ["archive", *map(str, arguments)])
        assert archive_command.main() == code, output.getvalue()
    return output.getvalue()


def refusal(firestore: FirestoreProcess) -> str:
    """Start the server, which must refuse the file. Return its message, which is one line with the name of the file."""
    with pytest.raises(AssertionError):
        firestore.start()
    (line,) = firestore.log.read_text().splitlines()
    assert str(firestore.data) in line
    return line


def damage_error() -> sqlite3.DatabaseError:
    """Return the error that SQLite raises for a damaged page, and for a page that the disk cannot read."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def damage_page(path: Path, text: bytes) -> None:
    """Overwrite the start of the page that stores a document with a text. Index entries can contain the text too."""
    content = bytearray(path.read_bytes())
    pages = [match.start() // PAGE_BYTES * PAGE_BYTES for match in re.finditer(re.escape(text), content)]
    (start,) = (page for page in pages if content[page] == TABLE_LEAF)
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)


def delete(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def empty(path: Path) -> None:
    """Remove the content of a file."""
    path.write_bytes(b"")


def halve(path: Path) -> None:
    """Remove the second half of a file."""
    os.truncate(path, path.stat().st_size // 2)


def shorten(path: Path) -> None:
    """Remove the last 100 bytes of a file."""
    os.truncate(path, path.stat().st_size - 100)


def overwrite(path: Path) -> None:
    """Replace a file by text."""
    path.write_text("This is not a database. " * 1000)


class Killed(BaseException):
    """Ends a restore between two steps."""


def end_restore(backup: Path, data: Path, renamed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a restore that ends after a number of renames, as if it was killed."""
    done: list[Path] = []
    replace = Path.replace

    def replace_or_end(source: Path, target: Path) -> Path:
        if len(done) == renamed:
            raise Killed
        done.append(target)
        return replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace_or_end)
        with pytest.raises(Killed):
            restore.restore(backup, data)
