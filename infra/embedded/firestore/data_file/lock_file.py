"""The lock of a data file against other processes."""

import fcntl
from pathlib import Path

from infra.embedded.firestore.data_file.file_format import UnusableFile


class StorageInUse(Exception):
    """Another process uses the data file."""


class LockFile:
    """Locks a data file against other processes until `close` is called."""

    def __init__(self, path: Path) -> None:
        """Lock the file. Raises `StorageInUse`, and `UnusableFile` if the folder cannot be used."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.with_name(path.name + ".lock").open("w")
        except OSError as error:
            raise UnusableFile(f"{path} cannot be opened: the folder {path.parent} cannot be used: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise StorageInUse(f"{path} is in use by another process: stop that process or use another file") from None

    def close(self) -> None:
        """Release the lock."""
        self._file.close()
