"""A measured process: started by its command, ready when it listens, bound to its processors."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.load import machine
from tests.load.machine import Processors

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.01


class Failed(Exception):
    """A measurement failed; the message says why."""


class Process(AbstractContextManager["Process"]):
    """A running command. Its output is in `log`."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        processors: Processors = frozenset(),
        folder: Path | None = None,
    ) -> None:
        self._command = command
        self._log = log
        self._ready = ready
        self._environment = environment or {}
        self._processors = processors
        self._folder = folder

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                self._command, env=os.environ | dict(self._environment), stdout=log, stderr=log, cwd=self._folder
            )
        try:
            wait_until(self._is_ready, " ".join(self._command))
            machine.place(self.pid, self._processors)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running.pid

    def _is_ready(self) -> bool:
        if self._running.poll() is not None:
            raise Failed(f"{' '.join(self._command)} ended: {self._log.read_text()[-500:].strip()}")
        return self._ready()

    def _stop(self) -> None:
        self._running.terminate()
        try:
            self._running.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()


class Busy:
    """The CPU time of a process from now until `share`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu = machine.cpu_seconds(pid)
        self._began = time.monotonic()

    def share(self) -> float:
        """Return processor seconds per elapsed second."""
        return (machine.cpu_seconds(self._pid) - self._cpu) / (time.monotonic() - self._began)


def wait_until(
    condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS, *, look: float = LOOK_SECONDS
) -> None:
    """Return when `condition` holds. Raises `Failed` after a timeout."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(look)
