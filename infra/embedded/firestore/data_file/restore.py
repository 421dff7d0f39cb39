"""Replace a data file by a backup or by imported documents, or accept a data file that lacks committed changes.

All operations need exclusive access to the file. A restore can be interrupted at any time. Until it has finished, the
marker prevents the server from starting. A restore that repeats an interrupted one completes its renames.
"""

import contextlib
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from infra.embedded.firestore.data_file import consistency, file_check
from infra.embedded.firestore.data_file.data_marker import DataMarker, Mark, sync_folder
from infra.embedded.firestore.data_file.file_format import FORMAT_VERSION, UnusableFile, format_version
from infra.embedded.firestore.data_file.lock_file import LockFile
from infra.embedded.firestore.errors import is_damage

logger = logging.getLogger(__name__)

_RESTORING = "0" * 32
"""The identity in the marker while a restore is running. No database has it. The sequence is the time of the start."""


def restore(backup: Path, path: Path) -> Path | None:
    """Replace a data file by a backup. Return the new path of the former file, or None if no file existed.

    Raise `UnusableFile` if the backup is damaged, if the folder does not exist, or if `path` is not a file. Raise
    `StorageInUse` if a server runs.
    """
    path = Path(os.path.realpath(path))
    if not backup.is_file() or (path.exists() and path.samefile(backup)):
        raise UnusableFile(f"the backup {backup} does not exist" if not backup.is_file() else f"{path} is the backup")
    if not path.parent.is_dir():
        raise UnusableFile(f"the folder {path.parent} does not exist: correct --data, or create the folder")
    if path.exists() and not path.is_file():
        raise UnusableFile(f"{path} is not a file: correct --data")
    lock = LockFile(path)
    try:
        marker = DataMarker(path)
        restored = _restored(path)
        try:
            delete_unfinished_copy(path)
            _copy(backup, restored)
        except BaseException:
            delete_unfinished_copy(path)
            raise
        mark = marker.read()
        if mark is None or mark.database_id != _RESTORING:
            mark = Mark(_RESTORING, _now())
            marker.write(mark)
        former = _former(path, mark.sequence)
        # If an interrupted attempt has renamed the file, the present file is a copy of a backup.
        _move_aside(path, _former(path, _now()) if former.exists() else former)
        restored.replace(path)
        sync_folder(path.parent)
        _mark(path, marker)
        return former if former.exists() else None
    finally:
        lock.close()


def delete_unfinished_copy(path: Path) -> None:
    """Delete what a killed restore has copied. Call this with the lock of the data file."""
    for file in _files(_restored(path)):
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def unfinished_import(path: Path) -> Iterator[Path]:
    """Return the path of an unfinished file in a folder of its own, which is deleted at the end.

    Call this with the lock of the data file.
    """
    folder = _imported(path)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder)


def delete_unfinished(path: Path) -> None:
    """Delete what a killed restore or import has written. Call this with the lock of the data file."""
    delete_unfinished_copy(path)
    folder = _imported(path)
    if folder.exists():
        shutil.rmtree(folder)
        logger.warning(
            "An import into %s was killed, and has imported nothing. Its unfinished files are deleted. To import the "
            "documents, stop Firestore, move the data file and its marker away, and run the import again",
            path,
        )


def install_new(complete: Path, path: Path, marker: DataMarker) -> None:
    """Install a complete file where no data file with documents exists. After a kill, the server can always start."""
    for former in (path.with_name(path.name + "-shm"), *_files(path)):
        former.unlink(missing_ok=True)
    complete.chmod(0o600)
    complete.replace(path)
    sync_folder(path.parent)
    _mark(path, marker)


def accept_loss(path: Path) -> str:
    """Let the server start with the present content of a file. Return a description of it. Raise `UnusableFile`.

    If a restore was interrupted before it has installed the backup, this is the content before the restore.
    """
    marker, path = DataMarker.of(path), Path(os.path.realpath(path))
    if not marker.exists() and not path.exists():  # with a marker, the file was lost
        raise UnusableFile(f"{path} does not exist; enter the data file of the server")
    lock = LockFile(path)
    try:
        _undo_restore(path, marker)
        try:
            if file_check.size_of(path):
                file_check.check(path, None)
            else:
                _move_aside(path, _former(path, _now()))
            mark = _mark(path, marker)
        except sqlite3.DatabaseError as error:
            raise file_check.unreadable(path, error) from error
        return "the file is empty" if mark is None else f"the file ends at change {mark.sequence}"
    finally:
        lock.close()


def _copy(backup: Path, target: Path) -> None:
    """Check a backup and copy it. SQLite's backup includes changes in the log of the backup.

    Without a log, SQLite need not write into the folder of the backup, which can be on a read-only disk.
    """
    options = "mode=ro" if file_check.log_of(backup).exists() else "mode=ro&immutable=1"
    try:
        with (
            contextlib.closing(file_check.connect(backup, options)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            version = format_version(source, backup)
            if version == 0:
                raise UnusableFile(f"the backup {backup} is empty")
            source.backup(copy)
            if version == FORMAT_VERSION:
                problem = next(consistency.problems(copy), None)
            else:
                (problem,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
                problem = None if problem == "ok" else problem
            if problem is not None:
                raise UnusableFile(f"the backup {backup} is damaged: {problem}. Use another backup")
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise UnusableFile(f"the backup {backup} cannot be read: {error}. Use another backup") from error
        raise UnusableFile(f"the backup {backup} cannot be copied to {target}: {error}") from error
    with target.open("rb") as file:
        os.fchmod(file.fileno(), 0o600)
        os.fsync(file.fileno())


def _restored(path: Path) -> Path:
    """Return the path of the copy of a backup that becomes the data file."""
    return path.with_name(path.name + ".restored")


def _imported(path: Path) -> Path:
    """Return the path of the folder with the file that an import writes."""
    return path.with_name(path.name + ".unfinished-import")


def _former(path: Path, started_at: int) -> Path:
    """Return the new path of a data file that a command replaces. `started_at` is in microseconds."""
    started = datetime.fromtimestamp(started_at / 1_000_000, UTC)
    return path.with_name(f"{path.name}.replaced-{started:%Y%m%dT%H%M%S.%fZ}")


def _files(path: Path) -> tuple[Path, Path, Path]:
    """Return the files that contain a database: its log, its rollback journal and the data file.

    The data file is renamed or deleted last. SQLite applies the other two to any data file next to them.
    """
    return file_check.log_of(path), file_check.journal_of(path), path


def _move_aside(path: Path, former: Path) -> None:
    """Rename a data file, its log and its rollback journal, so that they still belong together.

    If an interrupted attempt has renamed only the log, the present log is empty: a command that reads the file has
    created it.
    """
    for file, target in zip(_files(path), _files(former), strict=True):
        if file.exists() and not target.exists():
            file.replace(target)
    for remaining in (file_check.log_of(path), file_check.journal_of(path), path.with_name(path.name + "-shm")):
        remaining.unlink(missing_ok=True)
    sync_folder(path.parent)


def _undo_restore(path: Path, marker: DataMarker) -> None:
    """If a restore was interrupted before it has installed the backup, give the former files their names again."""
    mark = marker.read()
    if mark is None or mark.database_id != _RESTORING:
        return
    former = _former(path, mark.sequence)
    if path.exists() and former.exists():
        return  # the present file is the backup
    for source, target in zip(_files(former), _files(path), strict=True):
        if source.exists():
            source.replace(target)
    sync_folder(path.parent)


def _now() -> int:
    """Return the time in microseconds."""
    return time.time_ns() // 1_000


def _mark(path: Path, marker: DataMarker) -> Mark | None:
    """Write the marker for the present content of a file."""
    mark = file_check.current_mark(path)
    if mark is None:
        marker.remove()
    else:
        marker.write(mark)
    return mark
