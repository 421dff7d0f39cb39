"""Checks of the data file at a start: it must exist, be complete, and contain every committed change.

SQLite itself opens a missing or empty file as an empty database. It applies a write-ahead log to any database file next
to the log, even to an older copy of the database. Parts of this copy then become unreadable.
"""

import contextlib
import os
import sqlite3
import struct
from pathlib import Path

from infra.embedded.firestore.data_file.data_marker import DataMarker, Mark
from infra.embedded.firestore.data_file.file_format import UnusableFile, database_id, format_version
from infra.embedded.firestore.errors import FileMoved, LogMoved
from infra.embedded.python_command import python_command

_ARCHIVE = "infra.embedded.firestore.archive"
_MAGIC = b"SQLite format 3\0"
_HEADER = struct.Struct(">16sH10xI4xI")  # magic, page size, ..., size in pages, ..., unused pages
"""The start of the header of a database file: https://www.sqlite.org/fileformat.html#the_database_header"""

_HEADER_BYTES = 100
_MIN_PAGE_SIZE = 512
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_FRAME = struct.Struct(">II8s")  # page number; at the end of a commit, number of pages, otherwise 0; salts


def log_of(path: Path) -> Path:
    """Return the path of the write-ahead log of a data file."""
    return path.with_name(path.name + "-wal")


def journal_of(path: Path) -> Path:
    """Return the path of the rollback journal of a data file. SQLite uses it until the file has a write-ahead log."""
    return path.with_name(path.name + "-journal")


def resolve(path: Path) -> Path:
    """Return the file that a link names. Raise `UnusableFile` if it does not exist: its disk may not be mounted."""
    target = Path(os.path.realpath(path))  # `resolve` raises a RuntimeError for a loop of links
    if path.is_symlink() and not target.exists():
        raise UnusableFile(
            f"{path} is a link to {target}, which does not exist: mount its disk. For a new database, create an empty "
            f"file: touch {target}"
        )
    return target


def require_write_permission(path: Path) -> None:
    """Raise `UnusableFile` if this user cannot write an existing file.

    SQLite would open the file for reads only. Each connection would stay read-only after the permission is corrected,
    and the write-ahead log would have the same wrong permission.
    """
    if path.exists() and not os.access(path, os.W_OK):
        raise UnusableFile(f"{path} is read-only for this user: make this user its owner, with the mode 600")


def check(path: Path, marker: DataMarker | None) -> int:
    """Return the format version of a file, or 0 for a new file. Raise `UnusableFile`.

    Without a marker, check only the file and its log. Raise an error of SQLite if it cannot read the file.

    If an interrupted start has left a rollback journal, first undo its change. Call this with the lock of the file.

    Call this before a connection may write. When such a connection is closed, SQLite applies the log to the file and
    deletes it, even if the log belongs to another file.
    """
    try:
        _roll_back(path)
        in_file = _check_bytes(path, marker)
        if not size_of(path):
            return 0
        with contextlib.closing(connect(path, "mode=ro")) as connection:
            version = format_version(connection, path)
            if version:
                _check_changes(connection, path, marker, in_file)
            elif marker is not None and marker.exists():
                raise UnusableFile(
                    f"{path} contains no data, but {marker.path.name} says that it had data. Its write-ahead log "
                    f"{log_of(path).name} was probably deleted. {_advice(path)}"
                )
            return version
    except OSError as error:
        raise UnusableFile(f"{path} cannot be opened: {error.strerror}") from error


def unreadable(path: Path, error: sqlite3.DatabaseError) -> UnusableFile:
    """Return the error for a file that SQLite cannot read."""
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return UnusableFile(f"{path} is damaged: {error}. {_restore_advice(path)}")
    return UnusableFile(f"{path} cannot be opened: {error}")


def current_mark(path: Path) -> Mark | None:
    """Return the mark for the content of a file, or None if it has no data."""
    if not size_of(path):
        return None
    with contextlib.closing(connect(path, "mode=rw")) as connection:
        if not format_version(connection, path):
            return None
        mark = Mark(database_id(connection), _newest(connection))
        return mark if mark.sequence and mark.database_id else None


def size_of(path: Path) -> int:
    """Return the size of a file, or 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def unused_bytes(descriptor: int) -> int:
    """Return the bytes of an open file that were unused at the last checkpoint."""
    _, page_size, _, unused_pages = _parse_header(os.pread(descriptor, _HEADER_BYTES, 0))
    return page_size * unused_pages


class OpenFiles:
    """Descriptors of the data file and of its write-ahead log, while SQLite uses both.

    Keep the descriptor of the data file open as long as SQLite uses the file, because closing any descriptor of a file
    releases all POSIX locks of the process on this file (https://www.sqlite.org/howtocorrupt.html). SQLite in another
    process would then believe that it is the last user of the file, and delete the log with all later commits.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.log_path = path.with_name(f"{path.name}-wal")
        self.descriptor = os.open(path, os.O_RDONLY)
        self._log_descriptor = os.open(self.log_path, os.O_RDONLY)
        self._status, self._log_status = os.fstat(self.descriptor), os.fstat(self._log_descriptor)

    def check(self) -> None:
        """Raise `FileMoved` if one of the files is not at its path any more."""
        if not _is_same(self._path, self._status):
            raise FileMoved(f"{self._path} was moved or deleted")
        if not _is_same(self.log_path, self._log_status):
            raise LogMoved(f"{self.log_path} was moved or deleted")

    def unused_bytes(self) -> int:
        """Return the bytes of the data file that were unused at the last checkpoint."""
        return unused_bytes(self.descriptor)

    def close(self) -> None:
        """Close the descriptors. Call this after all connections are closed."""
        os.close(self.descriptor)
        os.close(self._log_descriptor)


def _is_same(path: Path, status: os.stat_result) -> bool:
    """Return whether the file at a path is the open file with this status. No other file has its inode number."""
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:
        return False


def connect(path: Path, options: str) -> sqlite3.Connection:
    """Open a file with the options of an SQLite URI, for example `mode=ro`."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None, timeout=30)


def _roll_back(path: Path) -> None:
    """Let SQLite undo the change of a rollback journal. A connection that is read-only cannot do this.

    SQLite creates the write-ahead log of a new or restored file with a transaction that still uses a rollback journal.
    """
    if size_of(path) and journal_of(path).exists() and not size_of(log_of(path)):
        with contextlib.closing(connect(path, "mode=rw")) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()


def _check_bytes(path: Path, marker: DataMarker | None) -> int | None:
    """Check the files without SQLite. This process must have no connection to the file (see `OpenFiles`).

    Return the last change in the file without its log. Return None if the file has no log, or is not readable without
    it.
    """
    size, log = size_of(path), log_of(path)
    log_size = size_of(log)
    if size == 0:
        state = "empty" if path.exists() else "missing"
        if marker is not None and marker.exists():
            raise UnusableFile(f"{path} is {state}, but {marker.path.name} says that it had data. {_advice(path)}")
        if log_size:
            raise UnusableFile(f"{path} is {state}, but its write-ahead log {log.name} exists. {_advice(path)}")
        return None
    with path.open("rb") as file:
        magic, page_size, pages, _ = _parse_header(file.read(_HEADER_BYTES))
    if size < _HEADER_BYTES or magic != _MAGIC or page_size < _MIN_PAGE_SIZE:
        raise UnusableFile(f"{path} is not an SQLite database, or its first bytes are damaged. {_restore_advice(path)}")
    logged, pages_after_log = _pages_in_log(log, page_size) if log_size else (set(), 0)
    pages = pages_after_log or pages
    first_missing = size // page_size + 1
    if any(number not in logged for number in range(first_missing, pages + 1)):
        reason = "truncated, or an older copy that does not belong to its write-ahead log" if log_size else "truncated"
        raise UnusableFile(
            f"{path} is {reason}: it has {size:,} bytes of {pages * page_size:,}. {_restore_advice(path)}"
        )
    return _last_change_without_log(path) if log_size else None


def _parse_header(header: bytes) -> tuple[bytes, int, int, int]:
    """Return the magic string, the page size in bytes, the number of pages, and the number of unused pages."""
    magic, page_size, pages, unused_pages = _HEADER.unpack_from(header.ljust(_HEADER_BYTES))
    return magic, 65536 if page_size == 1 else page_size, pages, unused_pages


def _check_changes(connection: sqlite3.Connection, path: Path, marker: DataMarker | None, in_file: int | None) -> None:
    """Check that no committed change is missing. `in_file` is what `_check_bytes` returned."""
    newest = _newest(connection)
    if in_file is not None:
        first = max(in_file, _pruned(connection))
        (count,) = connection.execute("SELECT count(*) FROM versions WHERE sequence > ?", (first,)).fetchone()
        if count != max(0, newest - first):
            raise UnusableFile(
                f"{path} and its write-ahead log {log_of(path).name} do not belong together: changes between them are "
                f"missing. The file was probably replaced by an older copy. {_restore_advice(path)}"
            )
    mark = None if marker is None else marker.read()
    if mark is not None and mark.database_id != database_id(connection):
        raise UnusableFile(
            f"{path} contains another database than before, according to {path.name}.marker. {_advice(path)}"
        )
    if mark is not None and mark.sequence > newest:
        raise UnusableFile(
            f"{path} ends at change {newest}, but change {mark.sequence} was committed. Its write-ahead log "
            f"{log_of(path).name} was deleted, or the file was replaced by an older copy. {_advice(path)}"
        )


def _newest(connection: sqlite3.Connection) -> int:
    """Return the sequence of the last change, or 0."""
    return int(connection.execute("SELECT coalesce(max(sequence), 0) FROM versions").fetchone()[0])


def _pruned(connection: sqlite3.Connection) -> int:
    """Return the sequence up to which changes may have been pruned."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'pruned'").fetchone()
    return 0 if row is None else int(row[0])


def _restore_advice(path: Path) -> str:
    return f"Restore a backup: {python_command(_ARCHIVE)} restore BACKUP --data {path}"


def _advice(path: Path) -> str:
    return (
        f"{_restore_advice(path)}. Or continue with the remaining data: {python_command(_ARCHIVE)} accept-loss --data "
        f"{path}"
    )


def _pages_in_log(log: Path, page_size: int) -> tuple[set[int], int]:
    """Return the numbers of the pages in a log, and the size of the database in pages after the last commit."""
    pages: set[int] = set()
    size = 0
    with log.open("rb") as file:
        salts = file.read(_LOG_HEADER_BYTES)[16:24]
        while len(header := file.read(_FRAME_HEADER_BYTES)) == _FRAME_HEADER_BYTES:
            number, size_after_commit, frame_salts = _FRAME.unpack_from(header)
            if frame_salts != salts:
                break  # this frame is older than the log
            pages.add(number)
            size = size_after_commit or size
            file.seek(page_size, 1)
    return pages, size


def _last_change_without_log(path: Path) -> int | None:
    """Return the last change in a file without its log. After an interrupted checkpoint, it may be unreadable."""
    with contextlib.closing(connect(path, "mode=ro&immutable=1")) as connection:
        try:
            return _newest(connection)
        except sqlite3.DatabaseError:
            return None
