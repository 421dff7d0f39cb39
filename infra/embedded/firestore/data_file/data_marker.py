"""The data marker: a small file next to the data file. It says which changes the data file must contain.

The marker contains the identity of the database and the sequence of the last change. After each group commit, the
writer overwrites the sequence in place. It does not flush the marker, so a commit costs no additional disk flush. The
marker is never ahead of the data file. If the data file ends before the sequence in the marker, committed changes are
missing: the file or its write-ahead log was deleted, emptied or replaced by an older copy.

Note: after a power failure, the marker on the disk may be some seconds old. If changes of these seconds are missing,
this is not detected.
"""

import contextlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

_TEXT = "Firestore compares this file with {name} at its start, and finds out whether data is missing.\n"
_FIELDS = re.compile(r"database ([0-9a-f]{32})\nsequence (\d{20})\n")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """The required content of a data file: the identity of its database, and a change that it must contain."""

    database_id: str
    sequence: int


class DataMarker:
    """The marker of one data file."""

    def __init__(self, data: Path) -> None:
        self.path = data.with_name(data.name + ".marker")
        self._name = data.name
        self._database_id = ""
        self._descriptor: int | None = None
        self._position = 0
        self._failed = False

    @classmethod
    def of(cls, path: Path) -> "DataMarker":
        """Return the marker of the file that `path` names. An earlier release wrote it next to the link."""
        marker, earlier = cls(Path(os.path.realpath(path))), cls(path)
        if path.is_symlink() and not marker.exists() and (mark := earlier.read()) is not None:
            marker.write(mark)
            earlier.remove()
        return marker

    def exists(self) -> bool:
        """Return whether the marker exists. The data file must then contain data."""
        return self.path.exists()

    def read(self) -> Mark | None:
        """Return the content, or None if the marker does not exist or is damaged."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = _FIELDS.search(self.path.read_text())
            if found is not None:
                return Mark(found[1], int(found[2]))
        return None

    def write(self, mark: Mark) -> None:
        """Create or replace the marker, and flush it to the disk."""
        partial = self.path.with_name(self.path.name + ".partial")
        with partial.open("w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"{_TEXT.format(name=self._name)}database {mark.database_id}\nsequence {mark.sequence:020}\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        sync_folder(self.path.parent)

    def open(self, database_id: str, sequence: int) -> None:
        """Prepare for `record`. If the file has no changes, the first change creates the marker."""
        self._database_id = database_id
        if sequence:
            self.record(sequence)

    def record(self, sequence: int) -> None:
        """Store the sequence of the last committed change. If this fails, log the failure and continue."""
        try:
            if self._descriptor is None:
                mark = Mark(self._database_id, sequence)
                if self.read() != mark:
                    self.write(mark)
                self._descriptor = os.open(self.path, os.O_RDWR)
                self._position = self.path.stat().st_size - 21
            os.pwrite(self._descriptor, b"%020d" % sequence, self._position)
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.warning("Cannot write %s: %s. Firestore continues without it", self.path, error)
            self._failed = True

    def close(self) -> None:
        """Flush the marker to the disk."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Delete the marker. The data file may then be missing or empty."""
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names of the files in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
