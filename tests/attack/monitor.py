"""Watches the processes of a stack: resident memory, CPU time, and restarts."""

import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import psutil

MIB = 2**20
ROLES = {
    "graphql_api": "API",
    "infra.embedded.firestore": "Firestore",
    "triggers": "function",
    "functions_framework": "function",
}
_INTERVAL_SECONDS = 0.05


class Monitor(AbstractContextManager["Monitor"]):
    """Measures the children of the process `supervisor`. `peaks` has the largest resident memory by role, in MiB."""

    def __init__(self, supervisor: int) -> None:
        self._supervisor = psutil.Process(supervisor)
        self._processes = self._find()
        self.peaks = self.memory()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def memory(self) -> dict[str, float]:
        """Return the resident memory of the processes, in MiB."""
        return {
            role: process.memory_info().rss / MIB for role, process in self._processes.items() if process.is_running()
        }

    def ended(self) -> list[str]:
        """Return the processes that ended since the start. The supervisor has restarted them."""
        return [role for role, process in self._processes.items() if not process.is_running()]

    def busy(self, seconds: float) -> dict[str, float]:
        """Return how many processors each process used during the next `seconds`."""
        before = self._processor_times()
        time.sleep(seconds)
        return {role: (used - before[role]) / seconds for role, used in self._processor_times().items()}

    def _processor_times(self) -> dict[str, float]:
        times = {role: process.cpu_times() for role, process in self._processes.items() if process.is_running()}
        return {role: used.user + used.system for role, used in times.items()}

    def _find(self) -> dict[str, psutil.Process]:
        found: dict[str, psutil.Process] = {}
        for process in self._supervisor.children(recursive=True):
            command = " ".join(process.cmdline())
            role = next((role for words, role in ROLES.items() if words in command), None)
            if role is not None and "auth.keys" not in command:
                found.setdefault(role, process)
        return found

    def _watch(self) -> None:
        while not self._stopped.wait(_INTERVAL_SECONDS):
            for role, size in self.memory().items():
                self.peaks[role] = max(self.peaks[role], size)
