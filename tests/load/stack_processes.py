"""Single processes of the stack: a Firestore alone, and the API or the function with it.

Commands and environments come from stack.toml. `tests.stack.Stack` is the whole stack with events.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import Client

from infra.embedded import jemalloc
from infra.embedded.stack_file import reader
from infra.embedded.stack_file.stack import Process as StackProcess
from infra.embedded.stack_file.stack import Stack
from tests.load.machine import Processors
from tests.load.process import Process
from tests.ports import free_port

STACK = Path("infra/embedded/stack.toml")
PROJECT = "dropzone-local"
SUBMITTER = "local"
SAMPLES = f"submitters/{SUBMITTER}/samples"
RESULTS = f"submitters/{SUBMITTER}/results"
MAX_PENDING_SAMPLES = 10_000_000


@dataclass(frozen=True, slots=True)
class Commands:
    """The processes of stack.toml, on free ports."""

    folder: Path
    stack: Stack

    @classmethod
    def of(cls, folder: Path) -> "Commands":
        """Read stack.toml for a stack with its data in `folder`."""
        settings = {f"DROPZONE_{name}_PORT": str(free_port()) for name in ("API", "FIRESTORE", "FUNCTION")}
        environ = (
            os.environ | jemalloc.environment_variables(os.environ) | settings | {"DROPZONE_DATA_DIR": str(folder)}
        )
        read = reader.read(STACK, environ)
        return cls(folder, read)

    @property
    def address(self) -> str:
        """The address of Firestore."""
        return f"127.0.0.1:{self.stack.settings['firestore_port']}"

    def firestore(self, processors: Processors, indexes: Path | None = None) -> Process:
        """Return Firestore without triggers, so without events. `indexes` replaces Dropzone's own."""
        process = self._named("firestore")
        command = _without(process.command, "--triggers", "--sockets", "--unix-socket", "--http-socket")
        if indexes is not None:
            command = [*_without(command, "--indexes"), "--indexes", str(indexes)]
        return self._process(process, command, processors)

    def api(
        self, processors: Processors, environment: Mapping[str, str] | None = None, *, has_tracing: bool = True
    ) -> Process:
        """Return the API, which opens its own socket. Without the function, all samples stay PENDING.

        `environment` has further variables. Without `has_tracing`, the API runs without its code for traces.
        """
        process = self._named("api")
        limit = {"DROPZONE_MAX_PENDING_SAMPLES_PER_SUBMITTER": str(MAX_PENDING_SAMPLES)}
        process = msgspec.structs.replace(process, environment={**process.environment, **limit, **(environment or {})})
        command = _without(process.command, "--sockets")
        if not has_tracing:
            position = command.index("infra.embedded.guarded")
            command[position:position] = ["tests.load.untraced", "-m"]
        return self._process(process, command, processors)

    def function(self, processors: Processors) -> Process:
        """Return the trigger function, which opens its own socket."""
        process = self._named("function")
        return self._process(process, _without(process.command, "--sockets"), processors)

    @property
    def event_secret(self) -> str:
        """The bearer token that the function expects with every event."""
        return self._named("function").environment["DROPZONE_EVENT_SECRET"]

    def key(self) -> str:
        """Make the key of the submitter `local`."""
        process = self._named("key")
        subprocess.run(process.command, env=self._environment(process), check=True)
        return (self.folder / "api-key").read_text().strip()

    def build_rollups(self) -> dict[str, int]:
        """Build rollups once, as a schedule does, and return what was done."""
        environment = os.environ | self._environment(self._named("function"))
        command = [sys.executable, "-m", "triggers.rollups"]
        report: dict[str, int] = json.loads(subprocess.check_output(command, env=environment))
        return report

    def port(self, name: str) -> int:
        """Return the port of a process."""
        return int(self.stack.settings[f"{name}_port"])

    def _named(self, name: str) -> StackProcess:
        return next(process for process in self.stack.processes if process.name == name)

    def _process(self, process: StackProcess, command: list[str], processors: Processors) -> Process:
        port = self.stack.port(process)
        assert port is not None
        return Process(
            command,
            self.folder / f"{process.name}.log",
            ready=lambda: listens(port),
            environment=self._environment(process),
            processors=processors,
        )

    def _environment(self, process: StackProcess) -> dict[str, str]:
        """Return the variables of a process. Firestore opens its port here, and not the Unix socket of a stack."""
        return process.environment | {"FIRESTORE_EMULATOR_HOST": self.address}


@contextlib.contextmanager
def firestore(folder: Path, processors: Processors, indexes: Path | None = None) -> Iterator[tuple[Commands, Process]]:
    """Run a Firestore alone."""
    commands = Commands.of(folder)
    with commands.firestore(processors, indexes) as process:
        yield commands, process


def _without(command: Sequence[str], *options: str) -> list[str]:
    """Return a command without some options and their values."""
    for option in options:
        position = command.index(option)
        command = [*command[:position], *command[position + 2 :]]
    return list(command)


def client(address: str) -> Any:
    """Return Google's client of a Firestore."""
    before = os.environ.get("FIRESTORE_EMULATOR_HOST")
    os.environ["FIRESTORE_EMULATOR_HOST"] = address
    try:
        return Client(project=PROJECT, credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    finally:
        del os.environ["FIRESTORE_EMULATOR_HOST"]
        if before is not None:
            os.environ["FIRESTORE_EMULATOR_HOST"] = before


def count(database: Any, collection: str) -> int:
    """Return the number of documents."""
    counted = database.collection(collection).count().get()
    return int(counted[0][0].value)


def listens(port: int) -> bool:
    """Return whether a process listens on a port of this machine."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
