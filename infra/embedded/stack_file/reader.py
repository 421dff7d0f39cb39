"""The reader of a stack file: it applies the environment and checks names, references and ports.

An environment variable overrides a setting. If `environment_prefix` is `DROPZONE_`, the variable
`DROPZONE_API_PORT` overrides `api_port`.
"""

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from infra.embedded.stack_file import placeholders
from infra.embedded.stack_file.stack import Process, Stack, StackError
from observability import logs
from runtime.environment_variables import number

MAX_INSTANCES = 64
"""Instances of a process. Hundreds of them, for example after a typing error, would use all memory of the machine."""


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
    return placeholders.replace(path, stack, environ)


def _setting(stack: Stack, name: str, environ: Mapping[str, str]) -> str | int:
    default = stack.settings[name]
    text = environ.get(stack.variable(name), "")
    if not text:
        return default
    if isinstance(default, str):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise StackError(f"{stack.variable(name)} must be text in UTF-8, got {text!r}") from None
        return text
    try:
        value = number(text, int)
    except ValueError:
        raise StackError(f"{stack.variable(name)} must be a whole number, got {text!r}") from None
    if value < 1:
        raise StackError(f"{stack.variable(name)} must be 1 or more, got {value}")
    return value


def _validate(path: Path, stack: Stack) -> None:
    names: set[str] = set()
    ports: dict[int, str] = {}
    _validate_settings(path, stack)
    for process in stack.processes:
        if process.name in names:
            raise StackError(f"{path}: two processes are named {process.name!r}")
        for name in process.after:
            if name not in names:
                raise StackError(f"{path}: {process.name!r} starts after {name!r}, which is not listed above it")
        names.add(process.name)
        _validate_process(path, stack, process)
        if process.port_setting is not None:
            _validate_port(path, stack, process, process.port_setting, ports)


def _validate_settings(path: Path, stack: Stack) -> None:
    for option, setting in (("data_setting", stack.data_setting), ("log_setting", stack.log_setting)):
        if setting is not None and setting not in stack.settings:
            raise StackError(f"{path}: {option} is {setting!r}, which is not a setting")
    if stack.log_format not in logs.FORMATS:
        raise StackError(f"{stack.variable(stack.log_setting or '')} must be text or json, got {stack.log_format!r}")


def _validate_process(path: Path, stack: Stack, process: Process) -> None:
    """Check one process, without its place among the other processes and without its port."""
    if not process.command:
        raise StackError(f"{path}: process {process.name!r} has an empty command")
    if process.proof_variable is not None and process.proof_variable not in process.environment:
        raise StackError(f"{path}: {process.name!r} has no variable {process.proof_variable!r} for its proof_variable")
    if process.inherits_sockets and process.port_setting is None:
        raise StackError(f"{path}: {process.name!r} uses {{sockets}}: add a port_setting")
    for setting in (process.host_setting, process.tls_setting, process.public_url_setting):
        if setting is not None and setting not in stack.settings:
            raise StackError(f"{path}: {process.name!r} refers to {setting!r}, which is not a setting")
    if process.count_setting is None:
        return
    if not (process.inherits_sockets and isinstance(stack.settings.get(process.count_setting), int)):
        raise StackError(
            f"{path}: {process.name!r} has a count_setting: use {{sockets}} in its command, "
            f"and set {process.count_setting!r} to a number in [settings]"
        )
    if stack.count(process) > MAX_INSTANCES:
        variable = stack.variable(process.count_setting)
        raise StackError(f"{variable} must be {MAX_INSTANCES} or less, got {stack.count(process)}")


def _validate_port(path: Path, stack: Stack, process: Process, setting: str, ports: dict[int, str]) -> None:
    """Check and add the port of a process. `ports` are the variables of the processes above it, by port."""
    if not isinstance(stack.settings.get(setting), int):
        raise StackError(f"{path}: {process.name!r} has a port_setting: set {setting!r} to a number in [settings]")
    variable, port = stack.variable(setting), int(stack.settings[setting])
    if not 1 <= port <= 65_535:
        raise StackError(f"{variable} must be a port from 1 to 65535, got {port}")
    if port in ports:
        raise StackError(f"{variable} and {ports[port]} are both {port}: each process needs its own port")
    ports[port] = variable
