"""stack.toml as typed values: what to start, what must be ready first, which write calls which function.

`{name}` in a command, an address or an environment value stands for a setting, and a setting may be
changed by an environment variable (`api_port` by `DROPZONE_API_PORT` where `variables = "DROPZONE_"`);
`{python}` is this interpreter and `{stack}` the stack file. A process with a `count` is handed its listening
sockets: `{sockets}` are their file descriptors, by commas, and `{own}` is where that instance alone answers.
The trap: path patterns of triggers have braces too, so of a trigger only the `url` is filled in.
"""

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

AT_START = {"sockets": "{sockets}", "own": "{own}"}
"""What is known only when an instance is started stays as it is."""


class StackError(Exception):
    """A stack file or a setting is wrong; the message says which, and what to do."""


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command. With `once` it is ready when it has ended well, else when `ready` answers."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()  # processes that must be ready before this one is started
    listens: str | None = None  # the setting that holds its port
    host: str = "127.0.0.1"  # where it listens
    ready: str | None = None  # tcp://host:port, or http://host:port/path that answers without a server error
    count: str | None = None  # the setting that says how many of it share its port
    once: bool = False
    environment: dict[str, str] = {}


class Greeting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command to run when everything is ready; what it prints is for the person who looks on."""

    command: tuple[str, ...]


class Stack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What runs on one machine. `triggers` are left as tables: eventarc knows what they mean."""

    variables: str = ""
    folder: str | None = None  # kept to one stack at a time
    scratch: str | None = None  # a folder that is empty at every start
    start_seconds: float = 60.0  # for each process to become ready, a slow first start included
    settings: dict[str, str | int] = {}
    environment: dict[str, str] = {}
    processes: tuple[Process, ...] = ()
    triggers: tuple[dict[str, Any], ...] = ()
    greeting: Greeting | None = None

    def port(self, process: Process) -> int | None:
        """Return the port that the process listens on."""
        return None if process.listens is None else int(self.settings[process.listens])

    def variable(self, setting: str) -> str:
        """Return the environment variable that changes a setting."""
        return self.variables + setting.upper()


def read(path: Path, environ: Mapping[str, str]) -> Stack:
    """Read a stack file, with settings from the environment and every placeholder filled in."""
    try:
        stack = msgspec.convert(tomllib.loads(path.read_text()), Stack)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise StackError(f"{path}: {error}") from error
    settings = {name: _setting(stack, name, environ) for name in stack.settings}
    try:
        filled = _fill(stack, {**settings, **AT_START, "python": sys.executable, "stack": str(path)}, settings, environ)
    except (KeyError, IndexError) as error:
        raise StackError(f"{path}: no setting is called {error}") from error
    except ValueError as error:
        raise StackError(f"{path}: {error}") from error
    _check(path, filled)
    return filled


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


def _fill(
    stack: Stack, values: Mapping[str, str | int], settings: dict[str, str | int], environ: Mapping[str, str]
) -> Stack:
    def words(command: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.format_map(values) for word in command)

    def variables(environment: dict[str, str]) -> dict[str, str]:
        return {name: value.format_map(values) for name, value in environment.items()}

    def process(given: Process) -> Process:
        return msgspec.structs.replace(
            given,
            command=words(given.command),
            host=given.host.format_map(values),
            ready=given.ready and given.ready.format_map(values),
            environment=environment | variables(given.environment),
        )

    resolved = {stack.variable(name): str(value) for name, value in settings.items()} if stack.variables else {}
    environment = {**environ, "PYTHONUNBUFFERED": "1", **resolved, **variables(stack.environment)}
    return msgspec.structs.replace(
        stack,
        folder=stack.folder and stack.folder.format_map(values),
        scratch=stack.scratch and stack.scratch.format_map(values),
        settings=settings,
        environment=environment,
        processes=tuple(process(given) for given in stack.processes),
        triggers=tuple(
            {**given, "url": given["url"].format_map(values)} if isinstance(given.get("url"), str) else given
            for given in stack.triggers
        ),
        greeting=stack.greeting and Greeting(command=words(stack.greeting.command)),
    )


def _check(path: Path, stack: Stack) -> None:
    earlier: set[str] = set()
    ports: dict[int, str] = {}
    for process in stack.processes:
        if not process.command:
            raise StackError(f"{path}: process {process.name!r} has an empty command")
        if process.name in earlier:
            raise StackError(f"{path}: two processes are called {process.name!r}")
        for name in process.after:
            if name not in earlier:
                raise StackError(f"{path}: {process.name!r} is to start after {name!r}, which is not above it")
        earlier.add(process.name)
        if process.count is not None and not (process.listens and isinstance(stack.settings.get(process.count), int)):
            raise StackError(f"{path}: {process.name!r} needs a port to share, and a number in {process.count!r}")
        if process.listens is None:
            continue
        if not isinstance(stack.settings.get(process.listens), int):
            raise StackError(f"{path}: {process.name!r} listens on {process.listens!r}, which is no port setting")
        variable, port = stack.variable(process.listens), int(stack.settings[process.listens])
        if not 1 <= port <= 65_535:
            raise StackError(f"{variable} must be a port from 1 to 65535, not {port}")
        if port in ports:
            raise StackError(f"{variable} and {ports[port]} are both {port}: each process needs its own port")
        ports[port] = variable
