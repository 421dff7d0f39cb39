"""What one submission has been told so far, kept until it has gone through.

It is for going on after an interruption: what was acknowledged is not sent again, and what is waited for is known
without holding it in memory. It is not what keeps samples from being stored twice (that is their idempotency key), so
it may be lost, and nothing is written through to the disk.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import platformdirs

from dropzone import Problem, Receipt, SampleState

_COMMIT_EVERY = 200
_FORGET_SECONDS = 30 * 24 * 3600.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS receipts (
    digest BLOB PRIMARY KEY, id TEXT NOT NULL, state TEXT NOT NULL, problems TEXT NOT NULL, place TEXT NOT NULL,
    run REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending ON receipts (id) WHERE state = 'PENDING';
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A receipt, the place of its sample, and whether this run got it or an earlier one that was interrupted."""

    receipt: Receipt
    place: str
    earlier: bool


class Journal:
    """The receipts of one submission: of these sources, to this server, with this key."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._run = time.time()
        self._uncommitted = 0
        self._database = sqlite3.connect(":memory:" if file is None else file)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)

    @classmethod
    def open(cls, url: str, key: str, sources: Iterable[str]) -> Self:
        """Return the journal of this submission, with what is in it. Raises `OSError` where none can be kept."""
        identity = sha256("\0".join([url, sha256(key.encode()).hexdigest(), *sources]).encode("utf-8", "replace"))
        folder = platformdirs.user_state_path("dropzone") / "submissions"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in folder.iterdir():
            with suppress(OSError):
                if old.stat().st_mtime < time.time() - _FORGET_SECONDS:
                    old.unlink()
        try:
            return cls(folder / f"{identity.hexdigest()}.sqlite")
        except sqlite3.Error as error:
            raise OSError(str(error)) from error

    def find(self, digest: bytes) -> Entry | None:
        """Return what is known of a sample."""
        query = "SELECT id, state, problems, place, run FROM receipts WHERE digest = ?"
        row = self._database.execute(query, [digest]).fetchone()
        return None if row is None else self._entry(*row)

    def add(self, digest: bytes, place: str, receipt: Receipt) -> bool:
        """Keep a receipt; False where there is one of an equal sample."""
        problems = json.dumps([[problem.path, problem.message, problem.code] for problem in receipt.problems])
        row = [digest, receipt.id, receipt.state.value, problems, place, self._run]
        added = self._database.execute("INSERT OR IGNORE INTO receipts VALUES (?, ?, ?, ?, ?, ?)", row).rowcount == 1
        self._changed()
        return added

    def pending(self, most: int) -> list[str]:
        """Return the ids of up to `most` samples whose result is not known."""
        query = "SELECT id FROM receipts WHERE state = 'PENDING' LIMIT ?"
        return [sample_id for (sample_id,) in self._database.execute(query, [most])]

    def settle(self, receipt: Receipt) -> Iterator[Entry]:
        """Keep the last state of a sample and yield its entry."""
        problems = json.dumps([[problem.path, problem.message, problem.code] for problem in receipt.problems])
        query = (
            "UPDATE receipts SET state = ?, problems = ? WHERE state = 'PENDING' AND id = ? "
            "RETURNING id, state, problems, place, run"
        )
        for row in self._database.execute(query, [receipt.state.value, problems, receipt.id]).fetchall():
            yield self._entry(*row)
        self._changed()

    def count(self, state: SampleState) -> int:
        """Return how many different samples are in a state."""
        row = self._database.execute("SELECT count(*) FROM receipts WHERE state = ?", [state.value]).fetchone()
        return int(row[0])

    def close(self, *, done: bool) -> None:
        """Keep it for the next run, or forget it when all is `done`."""
        self._database.commit()
        self._database.close()
        if done and self._file is not None:
            self._file.unlink(missing_ok=True)

    def _changed(self) -> None:
        self._uncommitted += 1
        if self._uncommitted >= _COMMIT_EVERY:
            self._database.commit()
            self._uncommitted = 0

    def _entry(self, sample_id: str, state: str, problems: str, place: str, run: float) -> Entry:
        found = tuple(Problem(*problem) for problem in json.loads(problems))
        return Entry(Receipt(sample_id, SampleState(state), found), place, earlier=run != self._run)
