"""The stack file as typed values: settings, processes, their start order, triggers and schedules.

An environment variable overrides a setting. If `environment_prefix` is `DROPZONE_`, the variable
`DROPZONE_API_PORT` overrides `api_port`. Commands, addresses, environment values and texts may contain placeholders:

- `{name}`: a setting
- `{name_url}`: the URL of the process `name`, as a client on this machine uses it
- `{python}`: this interpreter
- `{stack_file}`: the path of the stack file
- `{scratch_folder}`: a private folder that is emptied at every start, in memory if the system has `/dev/shm`
- `{sockets}`: the listening sockets of an instance, as file descriptors separated by commas
- `{own_address}`: the address on which only this instance listens
- `{secret}`: a random text that is new at every start; only in the `environment` of a process, because other users of
  the machine can read commands
- `{start_token}`: another random text that is new at every start; only in the `environment` of a process and in
  `ready_message`

Note: path patterns of triggers contain braces too, so placeholders of a trigger or schedule are replaced in its `url`
only.
"""

import hashlib
import os
import secrets
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from observability import logs

INSTANCE_PLACEHOLDERS = {"sockets": "{sockets}", "own_address": "{own_address}"}
"""Placeholders that are replaced when an instance is created."""

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
"""Maps an address that means all interfaces to the address that a client on this machine uses."""


SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the scratch folder is created privately


class StackError(Exception):
    """The stack file or a setting is wrong. The message says what to change."""


class Liveness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the supervisor finds out that a process hangs. `probes` describes the addresses."""

    address: str
    interval_seconds: float = 5.0
    """The pause after an answer. Each probe waits this long for an answer, too."""
    max_failures: int = 6
    """The process is killed after this number of probes in a row without an answer."""

    @property
    def max_silence_seconds(self) -> float:
        """How long a process may stay silent."""
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
    """The setting that holds the URL of a process with TLS. If it is empty, the URL is that of host and port."""
    ready: str | None = None
    """The address at which the process is ready. `probes` describes the addresses."""
    proof_variable: str | None = None
    """A variable of the process that holds a secret. To be ready, the process must prove that it knows the secret."""
    liveness: Liveness | None = None
    """How to find out that the process hangs. If None, the supervisor restarts it only when it exits."""
    count_setting: str | None = None
    """The setting that holds the number of instances. All instances share the port."""
    reuse_port: bool = False
    """Whether several instances have own sockets for the shared port, so that Linux distributes the connections."""
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
    """A command that validates the settings before anything starts. It exits with 0, or prints what is wrong."""
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
        digest = hashlib.sha256(str(self.data_folder.resolve()).encode()).hexdigest()
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


def read(path: Path, environ: Mapping[str, str]) -> Stack:
    """Read a stack file, apply the environment and replace placeholders. Raises `StackError`."""
    try:
        stack = msgspec.convert(tomllib.loads(path.read_text()), Stack)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise StackError(f"{path}: {error}") from error
    settings = {name: _setting(stack, name, environ) for name in stack.settings}
    if stack.log_setting in settings and not settings[stack.log_setting]:
        settings[stack.log_setting] = logs.default_format(sys.stdout)
    stack = msgspec.structs.replace(stack, settings=settings)
    _validate(path, stack)
    try:
        return _replace_placeholders(path, stack, environ)
    except (KeyError, IndexError) as error:
        raise StackError(f"{path}: unknown setting in a placeholder: {error}") from error
    except ValueError as error:
        raise StackError(f"{path}: invalid placeholder: {error}") from error


def _setting(stack: Stack, name: str, environ: Mapping[str, str]) -> str | int:
    default = stack.settings[name]
    text = environ.get(stack.variable(name), "")
    if not text:
        return default
    if isinstance(default, str):
        return text
    try:
        number = int(text)
    except ValueError:
        raise StackError(f"{stack.variable(name)} must be a whole number, not {text!r}") from None
    if number < 1:
        raise StackError(f"{stack.variable(name)} must be 1 or more, not {number}")
    return number


def _validate(path: Path, stack: Stack) -> None:
    names: set[str] = set()
    ports: dict[int, str] = {}
    if stack.data_setting is not None and stack.data_setting not in stack.settings:
        raise StackError(f"{path}: data_setting is {stack.data_setting!r}, which is not a setting")
    if stack.log_setting is not None and stack.log_setting not in stack.settings:
        raise StackError(f"{path}: log_setting is {stack.log_setting!r}, which is not a setting")
    if stack.log_format not in logs.FORMATS:
        raise StackError(f"{stack.variable(stack.log_setting or '')} must be text or json, not {stack.log_format!r}")
    for process in stack.processes:
        if not process.command:
            raise StackError(f"{path}: process {process.name!r} has an empty command")
        if process.name in names:
            raise StackError(f"{path}: two processes are named {process.name!r}")
        for name in process.after:
            if name not in names:
                raise StackError(f"{path}: {process.name!r} starts after {name!r}, which is not listed above it")
        names.add(process.name)
        if process.proof_variable is not None and process.proof_variable not in process.environment:
            raise StackError(
                f"{path}: {process.name!r} has no variable {process.proof_variable!r} for its proof_variable"
            )
        if process.inherits_sockets and process.port_setting is None:
            raise StackError(f"{path}: {process.name!r} uses {{sockets}}: add a port_setting")
        if process.host_setting is not None and process.host_setting not in stack.settings:
            raise StackError(
                f"{path}: {process.name!r} has host_setting {process.host_setting!r}, which is not a setting"
            )
        for setting in (process.tls_setting, process.public_url_setting):
            if setting is not None and setting not in stack.settings:
                raise StackError(f"{path}: {process.name!r} refers to {setting!r}, which is not a setting")
        if process.count_setting is not None and not (
            process.inherits_sockets and isinstance(stack.settings.get(process.count_setting), int)
        ):
            raise StackError(
                f"{path}: {process.name!r} has a count_setting: use {{sockets}} in its command, "
                f"and set {process.count_setting!r} to a number in [settings]"
            )
        if process.port_setting is None:
            continue
        if not isinstance(stack.settings.get(process.port_setting), int):
            raise StackError(
                f"{path}: {process.name!r} has a port_setting: set {process.port_setting!r} to a number in [settings]"
            )
        variable, port = stack.variable(process.port_setting), int(stack.settings[process.port_setting])
        if not 1 <= port <= 65_535:
            raise StackError(f"{variable} must be a port from 1 to 65535, not {port}")
        if port in ports:
            raise StackError(f"{variable} and {ports[port]} are both {port}: each process needs its own port")
        ports[port] = variable


def _replace_placeholders(path: Path, stack: Stack, environ: Mapping[str, str]) -> Stack:
    urls = {f"{process.name}_url": _url(stack, process) for process in stack.processes}
    fixed = {"python": sys.executable, "stack_file": str(path)}
    scratch = {} if stack.scratch_folder is None else {"scratch_folder": str(stack.scratch_folder)}
    values: Mapping[str, str | int] = {**urls, **stack.settings, **INSTANCE_PLACEHOLDERS, **fixed, **scratch}

    def command(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.format_map(values) for word in words)

    def variables(environment: dict[str, str], random: Mapping[str, str]) -> dict[str, str]:
        return {name: value.format_map({**values, **random}) for name, value in environment.items()}

    def addressed(table: dict[str, Any]) -> dict[str, Any]:
        return {**table, "url": table["url"].format_map(values)} if isinstance(table.get("url"), str) else table

    random = {"secret": secrets.token_urlsafe(32), "start_token": secrets.token_urlsafe(32)}

    def address(template: str, described: Process) -> str:
        text = template.format_map(values)
        return text.replace("http://", "https://", 1) if stack.has_tls(described) else text

    def process(described: Process) -> Process:
        several = described.environment_of_several if stack.count(described) > 1 else {}
        liveness = described.liveness
        return msgspec.structs.replace(
            described,
            command=command(described.command),
            ready=described.ready and address(described.ready, described),
            liveness=liveness and msgspec.structs.replace(liveness, address=address(liveness.address, described)),
            environment=environment | variables(described.environment | several, random),
        )

    settings = {stack.variable(name): str(value) for name, value in stack.settings.items()}
    environment = {
        **environ,
        "PYTHONUNBUFFERED": "1",
        **(settings if stack.environment_prefix else {}),
        **variables(stack.environment, {}),
    }
    return msgspec.structs.replace(
        stack,
        check=command(stack.check),
        ready_message=stack.ready_message.format_map({**values, "start_token": random["start_token"]}),
        environment=environment,
        processes=tuple(process(described) for described in stack.processes),
        triggers=tuple(map(addressed, stack.triggers)),
        schedules=tuple(map(addressed, stack.schedules)),
        greeting=stack.greeting and Greeting(command=command(stack.greeting.command)),
    )


def _url(stack: Stack, process: Process) -> str:
    """Return the URL of a process for clients on this machine."""
    host = LOOPBACK.get(stack.host(process), stack.host(process))
    scheme = "https" if stack.has_tls(process) else "http"
    if scheme == "https" and process.public_url_setting and stack.settings[process.public_url_setting]:
        return str(stack.settings[process.public_url_setting]).rstrip("/")
    return f"{scheme}://[{host}]:{stack.port(process)}" if ":" in host else f"{scheme}://{host}:{stack.port(process)}"
