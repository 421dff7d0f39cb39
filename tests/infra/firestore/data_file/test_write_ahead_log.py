"""A file system that allows no write-ahead log is refused at the start."""

import contextlib
from pathlib import Path

import pytest

from infra.embedded.firestore.data_file import file_check, file_format
from infra.embedded.firestore.data_file.file_format import UnusableFile


def test_a_file_system_without_shared_memory_is_refused(tmp_path: Path) -> None:
    """SQLite uses a rollback journal there, without an error. Readers would then delay commits."""
    path = tmp_path / "firestore.sqlite"
    with (
        contextlib.closing(file_check.connect(path, "vfs=unix-dotfile")) as connection,
        pytest.raises(UnusableFile, match="its file system has no shared memory: move the data to a local disk"),
    ):
        file_format.create_log(connection, path)
