"""The reserve file: disk space that is released if the data file cannot be opened on a full disk.

SQLite needs some space to open a file, even for reading, because it creates a file for the index of the write-ahead
log. Without the reserve, a server on a full disk could not start and serve reads.
"""

import contextlib
import os
from pathlib import Path

RESERVED_BYTES = 1024 * 1024
MIN_FREE_BYTES = 16 * 1024 * 1024
"""With less free space, the reserve is not created. The space is then left for writes."""


class ReserveFile:
    """The reserve in the folder of the data file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".reserve")

    def create(self) -> None:
        """Create the file if it does not exist and the disk has enough space. The folder can have been moved."""
        try:
            if not self._path.exists() and free_bytes(self._path.parent) >= MIN_FREE_BYTES:
                self._path.write_bytes(bytes(RESERVED_BYTES))
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def release(self) -> bool:
        """Delete the file. Return whether it existed."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def free_bytes(folder: Path) -> int:
    """Return the bytes that this user can still write to the file system of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
