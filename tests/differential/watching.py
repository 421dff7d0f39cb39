"""What a listener is shown, by the client that a user has.

The trap: the client sorts what it shows by itself, and a descending query as an ascending one.
"""

import threading
import time
from typing import Any

from tests.differential.sides import Side

_PATIENCE_SECONDS = 20.0


class Watched:
    """A listener on a document or a query of one side. `shown` has the snapshots so far."""

    def __init__(self, side: Side, target: Any) -> None:
        self.shown: list[Any] = []
        self._side = side
        self._target = target
        self._news = threading.Condition()
        self._watch = target.on_snapshot(self._take)

    def _take(self, documents: Any, changes: Any, _: Any) -> None:
        state = [self._document(each) for each in documents if each.exists]
        kinds = [(each.type.name, each.document.id, each.old_index, each.new_index) for each in changes]
        with self._news:
            self.shown.append((state, sorted(kinds)))
            self._news.notify_all()

    def _document(self, snapshot: Any) -> Any:
        return [snapshot.reference.path, self._side.plain(snapshot.to_dict())]

    def settle(self) -> None:
        """Wait until the last snapshot is what a reader finds."""
        expected = sorted(self._document(each) for each in self._read())
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with self._news:
            while not self.shown or sorted(self.shown[-1][0]) != expected:
                left = deadline - time.monotonic()
                assert left > 0, f"the {self._side.name} is at {self.shown[-1:]}, not {expected}"
                self._news.wait(left)

    def catch_up(self, other: "Watched") -> None:
        """Wait until this one has shown as much as another; not for ever, since it may never."""
        with self._news:
            self._news.wait_for(lambda: len(self.shown) >= len(other.shown), _PATIENCE_SECONDS)

    def _read(self) -> list[Any]:
        found = self._target.get()
        return found if isinstance(found, list) else [found] if found.exists else []

    def close(self) -> None:
        """Stop to listen."""
        self._watch.unsubscribe()
