"""wrk generates the load of all rows of requests, the same for Dropzone and its peers.

A response counts if it contains a text that only a success contains. Any other response fails the row, because
errors are fast and would look like speed.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import time_ns

import msgspec

from tests.load import machine
from tests.load.machine import Processors
from tests.load.process import Failed

SCRIPT = Path(__file__).with_name("wrk.lua")
INSTALL = "apt-get install wrk, or brew install wrk"
TIMEOUT_SECONDS = 30


class Outcome(msgspec.Struct, frozen=True):
    """The counts and times (in seconds) of one run of wrk."""

    good: int
    bad: int
    broken: int
    seconds: float
    p50: float
    p99: float
    longest: float
    example: str

    @property
    def rate(self) -> float:
        """Successful responses per second."""
        return self.good / self.seconds


@dataclass(frozen=True, slots=True)
class Target:
    """The port, path, body and headers of a request, and the text of a success."""

    url: str
    body: bytes
    expected: str
    headers: Mapping[str, str]


def compare(acknowledged: int, stored: int, connections: int) -> None:
    """Raise `Failed` unless every acknowledged sample is stored.

    wrk exits before its last responses arrive. So up to one more sample per connection may be stored, and again as
    many from the run before.
    """
    if not acknowledged <= stored <= acknowledged + 2 * connections:
        raise Failed(f"{acknowledged} were acknowledged, but {stored} are stored")


def is_there() -> bool:
    """Return whether wrk is installed."""
    return shutil.which("wrk") is not None


class Run:
    """A running wrk process; `outcome` waits for it."""

    def __init__(self, target: Target, *, connections: int, seconds: float, processors: Processors) -> None:
        if not is_there():
            raise Failed(f"wrk is not installed ({INSTALL})")
        self._body = tempfile.NamedTemporaryFile(prefix="dropzone-load-")  # noqa: SIM115 - closed by `outcome`
        self._body.write(target.body)
        self._body.flush()
        headers = [f"-H{name}: {value}" for name, value in target.headers.items()]
        options = [f"-c{connections}", "-t1", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_SECONDS}s"]
        script = [f"-s{SCRIPT}", target.url, "--", self._body.name, target.expected, str(time_ns() % 10**9)]
        self._running = subprocess.Popen(
            ["wrk", *options, *headers, *script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        machine.place(self._running.pid, processors)

    def outcome(self) -> Outcome:
        """Wait for the end and return the outcome. Raises `Failed` if any response was not a success."""
        output, _ = self._running.communicate()
        self._body.close()
        last = output.strip().rpartition("\n")[2]
        if self._running.returncode or not last.startswith("{"):
            raise Failed(f"wrk: {output.strip()[-300:]}")
        outcome = msgspec.json.decode(last, type=Outcome)
        if not outcome.good + outcome.bad:
            raise Failed(f"no response arrived in {outcome.seconds:.1f} s")
        if outcome.bad or outcome.broken:
            raise Failed(
                f"{outcome.bad} of {outcome.good + outcome.bad} responses were not a success and {outcome.broken} "
                f"connections broke: {outcome.example}"
            )
        return outcome


def run(target: Target, *, connections: int, seconds: float, processors: Processors) -> Outcome:
    """Send the same request repeatedly over several connections; each waits for its response."""
    return Run(target, connections=connections, seconds=seconds, processors=processors).outcome()
