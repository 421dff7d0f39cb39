"""A listener of Google's client that records its snapshots.

Note: the client sorts the documents of a snapshot itself. It sorts a descending query in ascending order.
"""

import threading
import time
from typing import Any

from tests.differential.compared_servers import ComparedServer

_TIMEOUT_SECONDS = 20.0


class RecordedListener:
    """A listener on a document or a query of one server. `snapshots` holds each snapshot and its changes."""

    def __init__(self, server: ComparedServer, target: Any) -> None:
        self.snapshots: list[Any] = []
        self._server = server
        self._target = target
        self._recorded = threading.Condition()
        self._watch = target.on_snapshot(self._record)

    def _record(self, documents: Any, changes: Any, _: Any) -> None:
        state = [self._normalize(each) for each in documents if each.exists]
        kinds = [(each.type.name, each.document.id, each.old_index, each.new_index) for each in changes]
        with self._recorded:
            self.snapshots.append((state, sorted(kinds)))
            self._recorded.notify_all()

    def _normalize(self, snapshot: Any) -> Any:
        return [snapshot.reference.path, self._server.normalize(snapshot.to_dict())]

    def wait_until_current(self) -> None:
        """Wait until the last snapshot equals a read of the target."""
        expected = sorted(self._normalize(each) for each in self._read())
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        with self._recorded:
            while not self.snapshots or sorted(self.snapshots[-1][0]) != expected:
                remaining = deadline - time.monotonic()
                assert remaining > 0, f"the {self._server.name} has {self.snapshots[-1:]}, expected {expected}"
                self._recorded.wait(remaining)

    def wait_for_as_many_as(self, other: "RecordedListener") -> None:
        """Wait until this listener has as many snapshots as another, or until the timeout."""
        with self._recorded:
            self._recorded.wait_for(lambda: len(self.snapshots) >= len(other.snapshots), _TIMEOUT_SECONDS)

    def _read(self) -> list[Any]:
        result = self._target.get()
        return result if isinstance(result, list) else [result] if result.exists else []

    def close(self) -> None:
        """Stop the listener."""
        self._watch.unsubscribe()
