"""Dropzone and its peers, each with its own embedded Firestore.

They take turns run by run, so that other load on the machine affects all of them. Only the servers of the request run:
no events and no function, because the peers have none.
"""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.load import samples, stack_processes, wrk
from tests.load.plan import Plan, median
from tests.load.process import Busy, Failed, Process
from tests.load.table import NODE, STRAWBERRY
from tests.load.wrk import Outcome, Target
from tests.ports import free_port

DROPZONE = "Dropzone"
NODE_PEER = Path(__file__).with_name("node_peer")
PEER_INDEXES = Path(__file__).with_name("peer_indexes.json")
"""Exempts the peers' array from indexes. Otherwise the index entries would dominate their figures."""

NODE_INSTALLED = Path(".venv/node_peer")
WARM_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that takes samples over GraphQL."""

    name: str
    process: Process
    firestore: Process
    port: int
    headers: dict[str, str]
    request: Callable[[int], bytes]
    collection: str
    database: Any

    def target(self, values: int) -> Target:
        """Return the request that submits a sample of `values` values."""
        return Target(f"http://127.0.0.1:{self.port}/graphql", self.request(values), '"PENDING"', self.headers)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run, and the CPU time of the server and its Firestore as shares of one core."""

    outcome: Outcome
    busy: float
    firestore_busy: float


@dataclass(slots=True)
class Contest:
    """The contestants that run, and why others do not."""

    plan: Plan
    contestants: list[Contestant] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def submits(
        self, values: int, connections: int, by: Callable[[Measured], float] = lambda each: each.outcome.rate
    ) -> dict[str, Measured | str]:
        """Run all contestants in turn. Return the median of each, or why there is none. Raises if Dropzone fails."""
        problems: dict[str, Measured | str] = dict(self.absent)
        runs: dict[str, list[Measured]] = {contestant.name: [] for contestant in self.contestants}
        for number in range(1 + self.plan.runs):
            for contestant in self.contestants:
                if contestant.name in problems:
                    continue
                try:
                    measured = self._submit(contestant, values, connections, warm_up=number == 0)
                except Failed as problem:
                    if contestant.name == DROPZONE:
                        raise
                    problems[contestant.name] = str(problem)
                else:
                    runs[contestant.name] += [measured] if number else []
        medians = {name: median(measured, by) for name, measured in runs.items() if name not in problems}
        return problems | medians

    def _submit(self, contestant: Contestant, values: int, connections: int, *, warm_up: bool) -> Measured:
        before = stack_processes.count(contestant.database, contestant.collection)
        busy, firestore_busy = Busy(contestant.process.pid), Busy(contestant.firestore.pid)
        outcome = wrk.run(
            contestant.target(values),
            connections=connections,
            seconds=WARM_UP_SECONDS if warm_up else self.plan.seconds,
            processors=self.plan.placement.other,
        )
        measured = Measured(outcome, busy.share(), firestore_busy.share())
        stored = stack_processes.count(contestant.database, contestant.collection) - before
        wrk.compare(outcome.good, stored, connections)
        return measured


@contextlib.contextmanager
def contest(plan: Plan, *, peers: bool = True) -> Iterator[Contest]:
    """Start all contestants."""
    with ExitStack() as started:
        opened = Contest(plan, [started.enter_context(dropzone(plan))])
        for name, start in ((STRAWBERRY, _strawberry), (NODE, _node)) if peers else ():
            try:
                opened.contestants.append(started.enter_context(start(plan)))
            except (Failed, OSError, subprocess.CalledProcessError) as problem:
                opened.absent[name] = str(problem)
        yield opened


@contextlib.contextmanager
def dropzone(
    plan: Plan, name: str = DROPZONE, environment: Mapping[str, str] | None = None, *, has_tracing: bool = True
) -> Iterator[Contestant]:
    """Start an API with its Firestore. `environment` and `has_tracing` are those of `Commands.api`."""
    with stack_processes.firestore(plan.new_folder("dropzone"), plan.placement.other) as (commands, firestore):
        headers = {"content-type": "application/json", "x-api-key": commands.key()}
        with commands.api(plan.placement.one, environment, has_tracing=has_tracing) as process:
            yield Contestant(
                name,
                process,
                firestore,
                commands.port("api"),
                headers,
                lambda values: samples.submission(samples.sample(values)),
                stack_processes.SAMPLES,
                stack_processes.client(commands.address),
            )


@contextlib.contextmanager
def _strawberry(plan: Plan) -> Iterator[Contestant]:
    port = free_port()
    command = ["-m", "uvicorn", "tests.load.strawberry_peer:app", "--port", str(port), "--log-level", "warning"]
    with _peer(plan, STRAWBERRY, port, [sys.executable, *command, "--no-access-log"]) as contestant:
        yield contestant


@contextlib.contextmanager
def _node(plan: Plan) -> Iterator[Contestant]:
    install_node_peer()
    with _peer(plan, NODE, free_port(), ["node", str(NODE_INSTALLED / "server.js")]) as contestant:
        yield contestant


@contextlib.contextmanager
def _peer(plan: Plan, name: str, port: int, command: list[str]) -> Iterator[Contestant]:
    folder = plan.new_folder("peer")
    with stack_processes.firestore(folder, plan.placement.other, PEER_INDEXES) as (commands, firestore):
        environment = {
            "FIRESTORE_EMULATOR_HOST": commands.address,
            "GOOGLE_CLOUD_PROJECT": stack_processes.PROJECT,
            "NODE_ENV": "production",
            "PORT": str(port),
        }
        with Process(
            command,
            folder / "peer.log",
            ready=lambda: stack_processes.listens(port),
            environment=environment,
            processors=plan.placement.one,
        ) as process:
            yield Contestant(
                name,
                process,
                firestore,
                port,
                {"content-type": "application/json"},
                samples.peer_request,
                "samples",
                stack_processes.client(commands.address),
            )


def install_node_peer() -> None:
    """Install the Node peer in the virtual environment if it is not installed."""
    if shutil.which("npm") is None:
        raise Failed("npm is not installed")
    NODE_INSTALLED.mkdir(exist_ok=True)
    for file in ("package.json", "package-lock.json", ".npmrc", "server.js"):
        shutil.copy(NODE_PEER / file, NODE_INSTALLED / file)
    lock, installed = NODE_INSTALLED / "package-lock.json", NODE_INSTALLED / "installed.json"
    if not installed.is_file() or installed.read_bytes() != lock.read_bytes():
        command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=NODE_INSTALLED, check=True)
        shutil.copy(lock, installed)
