"""The copy of a data file that is made before an upgrade of its format.

The supervisor may stop the server while a large file is copied. The next start continues the copy, so every start makes
progress.
"""

import logging
import os
import shutil
import sqlite3
from pathlib import Path

from infra.embedded.firestore.data_file.data_marker import sync_folder
from infra.embedded.firestore.data_file.file_format import FORMAT_VERSION, UnusableFile

CHUNK_BYTES = 8 * 1024 * 1024
RESERVED_BYTES = 64 * 1024 * 1024
"""Free space that the upgrade needs in addition to the copy."""

logger = logging.getLogger(__name__)


def copy_before_upgrade(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the file to `NAME.format-VERSION.sqlite` next to it, and return that path. `connection` is in WAL mode.

    Raise `UnusableFile` if the disk has too little free space. An existing copy is replaced: the file has changed since
    that copy, because an earlier upgrade was undone.
    """
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise UnusableFile(
            f"{path} must be upgraded to format version {FORMAT_VERSION}, but another process reads it: "
            "stop that process"
        )
    # From here on, the file itself is complete.
    copy = path.with_name(f"{path.stem}.format-{version}{path.suffix}")
    partial = copy.with_name(copy.name + ".partial")
    connection.execute("BEGIN IMMEDIATE")  # other processes cannot write
    try:
        size = path.stat().st_size
        done = _continued_at(path, partial)
        _check_space(path, size - done)
        logger.warning(
            "Upgrading %s from format version %d to %d: copying %d MiB to %s",
            path,
            version,
            FORMAT_VERSION,
            (size - done) >> 20,
            copy,
        )
        with path.open("rb") as source, partial.open("r+b" if done else "wb") as target:
            os.fchmod(target.fileno(), path.stat().st_mode & 0o777)
            source.seek(done)
            target.seek(done)
            while chunk := source.read(CHUNK_BYTES):
                target.write(chunk)
            target.truncate()
            target.flush()
            os.fsync(target.fileno())
        partial.replace(copy)
        sync_folder(copy.parent)
    finally:
        connection.execute("ROLLBACK")
    logger.warning("The copy is complete. Delete %s when you no longer want to go back to the earlier release", copy)
    return copy


def _continued_at(path: Path, partial: Path) -> int:
    """Return the number of bytes that an interrupted copy of the same content has copied."""
    if not partial.exists():
        return 0
    file, copied = path.stat(), partial.stat()
    if copied.st_mtime_ns <= file.st_mtime_ns or copied.st_size > file.st_size:
        return 0  # the file has changed since
    return max(0, copied.st_size - CHUNK_BYTES) // CHUNK_BYTES * CHUNK_BYTES


def _check_space(path: Path, size: int) -> None:
    required, free = size + RESERVED_BYTES, shutil.disk_usage(path.parent).free
    if free < required:
        raise UnusableFile(
            f"{path} must be upgraded to format version {FORMAT_VERSION}, and a copy is made first. The disk of "
            f"{path.parent} has {free >> 20} MiB of free space, and {required >> 20} MiB are required: free "
            f"{((required - free) >> 20) + 1} MiB, or move the data to a larger disk. The file is unchanged"
        )
