"""The placeholders in the texts of a stack file.

Commands, addresses, environment values and texts may contain placeholders:

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
  `ready_message`. If the log is JSON, lines of `ready_message` with this token are left out, because such logs are kept

Note: path patterns of triggers contain braces too. In a trigger or schedule, placeholders are therefore replaced only
in the `url`.
"""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from infra.embedded.stack_file.stack import Greeting, Process, Stack, StackError

_ADDRESS_SCHEMES = ("http", "https", "grpc", "tcp")

INSTANCE_PLACEHOLDERS = {"sockets": "{sockets}", "own_address": "{own_address}"}
"""Placeholders that are replaced when an instance is created."""

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
"""Maps an address that means all interfaces to the address that a client on this machine uses."""


def replace(path: Path, stack: Stack, environ: Mapping[str, str]) -> Stack:
    """Return a stack, read from `path`, without placeholders. Raises `StackError`."""
    try:
        return _Replacement(path, stack).stack(environ)
    except (KeyError, IndexError) as error:
        raise StackError(f"{path}: unknown setting in a placeholder: {error}") from error
    except ValueError as error:
        raise StackError(f"{path}: invalid placeholder: {error}") from error


class _Replacement:
    """The values of the placeholders of one stack. The random texts are only for environments and `ready_message`."""

    def __init__(self, path: Path, stack: Stack) -> None:
        urls = {f"{process.name}_url": _url(stack, process) for process in stack.processes}
        fixed = {"python": sys.executable, "stack_file": str(path)}
        scratch = {} if stack.scratch_folder is None else {"scratch_folder": str(stack.scratch_folder)}
        self._path = path
        self._stack = stack
        self._values: Mapping[str, str | int] = {**urls, **stack.settings, **INSTANCE_PLACEHOLDERS, **fixed, **scratch}
        self._random = {"secret": secrets.token_urlsafe(32), "start_token": secrets.token_urlsafe(32)}

    def stack(self, environ: Mapping[str, str]) -> Stack:
        """Return the stack without placeholders."""
        stack = self._stack
        settings = {stack.variable(name): str(value) for name, value in stack.settings.items()}
        variables = self._variables(stack.environment, {})
        self._reject_overridden(variables, environ)
        environment = {
            **environ,
            "PYTHONUNBUFFERED": "1",
            **(settings if stack.environment_prefix else {}),
            **variables,
        }
        start_token = self._random["start_token"]
        return msgspec.structs.replace(
            stack,
            check=self._command(stack.check),
            ready_message=_ready_message(stack).format_map({**self._values, "start_token": start_token}),
            environment=environment,
            processes=tuple(self._process(each, environment) for each in stack.processes),
            triggers=tuple(map(self._addressed, stack.triggers)),
            schedules=tuple(map(self._addressed, stack.schedules)),
            greeting=stack.greeting and Greeting(command=self._command(stack.greeting.command)),
        )

    def _reject_overridden(self, variables: Mapping[str, str], environ: Mapping[str, str]) -> None:
        """Raise `StackError` if a user has set a variable of the product that would have no effect."""
        prefix = self._stack.environment_prefix
        for name, value in variables.items():
            if prefix and name.startswith(prefix) and environ.get(name, "") not in ("", value):
                raise StackError(f"{name} cannot be set here, because the stack sets it to {value!r}: unset {name}")

    def _process(self, process: Process, environment: Mapping[str, str]) -> Process:
        """Return a process whose environment adds its own variables to `environment`."""
        several = process.environment_of_several if self._stack.count(process) > 1 else {}
        liveness = process.liveness
        return msgspec.structs.replace(
            process,
            command=self._command(process.command),
            ready=process.ready and self._address(process.ready, process),
            liveness=liveness and msgspec.structs.replace(liveness, address=self._address(liveness.address, process)),
            environment={**environment, **self._variables(process.environment | several, self._random)},
        )

    def _command(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.format_map(self._values) for word in words)

    def _variables(self, environment: Mapping[str, str], random: Mapping[str, str]) -> dict[str, str]:
        return {name: value.format_map({**self._values, **random}) for name, value in environment.items()}

    def _address(self, template: str, process: Process) -> str:
        text = template.format_map(self._values)
        if not _is_address(text):
            raise StackError(
                f"{self._path}: {process.name!r}: expected an address such as http://host:port/path, got {text!r}"
            )
        return text.replace("http://", "https://", 1) if self._stack.has_tls(process) else text

    def _addressed(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return the table of a trigger or a schedule with its URL."""
        return {**table, "url": table["url"].format_map(self._values)} if isinstance(table.get("url"), str) else table


def _is_address(text: str) -> bool:
    """Return whether a probe can connect to an address. `probes` describes the addresses."""
    try:
        parts = urlsplit(text.replace("{own_address}", "127.0.0.1:1"))
        return parts.scheme in _ADDRESS_SCHEMES and bool(parts.hostname and parts.port)
    except ValueError:  # such as the port 70000
        return False


def _ready_message(stack: Stack) -> str:
    if stack.log_format == "text":
        return stack.ready_message
    return "\n".join(line for line in stack.ready_message.splitlines() if "{start_token}" not in line)


def _url(stack: Stack, process: Process) -> str:
    """Return the URL of a process for clients on this machine."""
    host = LOOPBACK.get(stack.host(process), stack.host(process))
    scheme = "https" if stack.has_tls(process) else "http"
    if scheme == "https" and process.public_url_setting and stack.settings[process.public_url_setting]:
        return str(stack.settings[process.public_url_setting]).rstrip("/")
    return f"{scheme}://[{host}]:{stack.port(process)}" if ":" in host else f"{scheme}://{host}:{stack.port(process)}"
