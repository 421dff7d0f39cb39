"""wrk, which makes the load of every row of requests: the same for the product and its peers.

An answer counts when it has the text that only a success has; one that has not fails the row, because
errors are quick and would pass for speed.
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
    """What a run of wrk saw; times in seconds."""

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
        """Good answers a second."""
        return self.good / self.seconds


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send what, and how a success can be told."""

    url: str
    body: bytes
    expected: str
    headers: Mapping[str, str]


def compare(acknowledged: int, stored: int, connections: int) -> None:
    """Raise `Failed` unless what was acknowledged is stored.

    wrk leaves without its last answers, so as many as there are connections may be stored beside these, and as
    many of the run before while this one is counted.
    """
    if not acknowledged <= stored <= acknowledged + 2 * connections:
        raise Failed(f"{acknowledged} were acknowledged, but {stored} stored")


def is_there() -> bool:
    """Tell whether wrk is installed."""
    return shutil.which("wrk") is not None


class Run:
    """wrk at work, from here to `outcome`."""

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
        """Wait for the end and return what was seen. Raises `Failed` where not every answer was good."""
        output, _ = self._running.communicate()
        self._body.close()
        last = output.strip().rpartition("\n")[2]
        if self._running.returncode or not last.startswith("{"):
            raise Failed(f"wrk: {output.strip()[-300:]}")
        outcome = msgspec.json.decode(last, type=Outcome)
        if not outcome.good + outcome.bad:
            raise Failed(f"nothing was answered in {outcome.seconds:.1f} s")
        if outcome.bad or outcome.broken:
            raise Failed(
                f"{outcome.bad} of {outcome.good + outcome.bad} answers were no success and {outcome.broken} "
                f"connections broke: {outcome.example}"
            )
        return outcome


def run(target: Target, *, connections: int, seconds: float, processors: Processors) -> Outcome:
    """Send the same request again and again over so many connections, each waiting for its answer."""
    return Run(target, connections=connections, seconds=seconds, processors=processors).outcome()
