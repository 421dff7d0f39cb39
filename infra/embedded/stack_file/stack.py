"""The stack as typed values: settings, processes, their start order, triggers and schedules."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the scratch folder is created privately


class StackError(Exception):
    """The stack file or a setting is wrong. The message says what to change."""


class Liveness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the supervisor detects that a process hangs. `probes` describes the addresses."""

    address: str
    interval_seconds: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """The pause after a response, and the time for which each probe waits for a response."""
    max_failures: Annotated[int, msgspec.Meta(ge=1)] = 6
    """The process is killed after this number of probes in a row without a response."""

    @property
    def max_silence_seconds(self) -> float:
        """The maximum time without a response."""
        return self.interval_seconds * self.max_failures


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that the supervisor runs and restarts."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    """Processes that must be ready before this process starts."""
    port_setting: str | None = None
    """The setting that holds the port of this process."""
    host_setting: str | None = None
    """The setting that holds the address to listen on. If None, the process listens on 127.0.0.1."""
    tls_setting: str | None = None
    """The setting that is not empty if the process speaks TLS. Its URL and its probes then have `https`."""
    public_url_setting: str | None = None
    """The setting that holds the URL of a process with TLS. If it is empty, the URL consists of host and port."""
    ready: str | None = None
    """The address of the readiness probe. `probes` describes the addresses."""
    proof_variable: str | None = None
    """A variable of the process that contains a secret. The process is ready only if it proves that it knows the
    secret.
    """
    liveness: Liveness | None = None
    """How to detect that the process hangs. If None, the supervisor restarts it only when it exits."""
    count_setting: str | None = None
    """The setting that holds the number of instances. All instances share the port."""
    reuse_port: bool = False
    """Whether each instance has its own socket for the shared port, so that Linux distributes the connections."""
    once: bool = False
    """If true, the process is ready when it has exited with code 0, and it is not restarted."""
    environment: dict[str, str] = {}
    environment_of_several: dict[str, str] = {}
    """Variables of a process that has more than one instance."""

    @property
    def proof_secret(self) -> str | None:
        """The secret that the process must know to be ready."""
        return None if self.proof_variable is None else self.environment[self.proof_variable]

    @property
    def inherits_sockets(self) -> bool:
        """Whether the supervisor opens the port of this process and passes the listening sockets."""
        return any("{sockets}" in word for word in self.command)


class Greeting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that runs once when all processes are ready. Its output is printed without a name."""

    command: tuple[str, ...]


class Stack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a stack file. `eventarc` validates `triggers` and `schedules`."""

    environment_prefix: str = ""
    data_setting: str | None = None
    """The setting that holds the data folder. Two running stacks cannot use the same data folder."""
    log_setting: str | None = None
    """The setting that holds the log format, `text` or `json`. If the setting is empty, all processes log text on a
    terminal, and JSON otherwise. If None, the log is text."""
    max_start_seconds: float = 60.0
    """The maximum time for each process to become ready."""
    check: tuple[str, ...] = ()
    """A command that validates the settings before anything starts. It exits with 0, or prints the problem."""
    ready_message: str = ""
    """A text to print when all processes are ready."""
    settings: dict[str, str | int] = {}
    environment: dict[str, str] = {}
    processes: tuple[Process, ...] = ()
    triggers: tuple[dict[str, Any], ...] = ()
    schedules: tuple[dict[str, Any], ...] = ()
    greeting: Greeting | None = None

    @property
    def data_folder(self) -> Path | None:
        """The data folder, or None if `data_setting` is None."""
        return None if self.data_setting is None else Path(str(self.settings[self.data_setting]))

    @property
    def log_format(self) -> str:
        """The format of the output: `text` or `json`."""
        return "text" if self.log_setting is None else str(self.settings[self.log_setting])

    @property
    def scratch_folder(self) -> Path | None:
        """The scratch folder of the data folder, or None if `data_setting` is None.

        The path is short, because the path of a Unix socket has at most 103 characters on macOS.
        """
        if self.data_folder is None:
            return None
        folder = os.path.realpath(self.data_folder)  # `resolve` raises a RuntimeError for a loop of links
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()
        parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
        return parent / f"stack-{os.getuid()}-{digest[:16]}"

    def count(self, process: Process) -> int:
        """Return the number of instances of a process."""
        return 1 if process.count_setting is None else int(self.settings[process.count_setting])

    def port(self, process: Process) -> int | None:
        """Return the port that the process listens on, or None if it has no `port_setting`."""
        return None if process.port_setting is None else int(self.settings[process.port_setting])

    def host(self, process: Process) -> str:
        """Return the address that the process listens on."""
        return "127.0.0.1" if process.host_setting is None else str(self.settings[process.host_setting])

    def has_tls(self, process: Process) -> bool:
        """Return whether the process speaks TLS."""
        return process.tls_setting is not None and bool(self.settings[process.tls_setting])

    def variable(self, setting: str) -> str:
        """Return the name of the environment variable that overrides a setting."""
        return self.environment_prefix + setting.upper()
