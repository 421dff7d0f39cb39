"""What a stack needs for itself alone: its data folder and its ports, claimed before anything starts.

A lock goes with the last process that holds it, kill -9 included. There are two: one is the supervisor's
alone and says that a stack runs, the other is its watchdog's too, and while only that one is held, what a
killed supervisor left is just being ended: that is waited for.
The trap of ports: servers may listen with SO_REUSEPORT and would then share a port in silence, so a port
counts as free only if it can be bound without, and if nobody answers there.
"""

import errno
import fcntl
import os
import shutil
import socket
import time
from pathlib import Path

from infra.embedded.stack import Stack

CONNECT_SECONDS = 0.5
DYING_SECONDS = 3.0
POLL_SECONDS = 0.05


class Taken(Exception):
    """Something that the stack needs is in use; the message names it, and the setting to change."""


def claim(stack: Stack) -> int | None:
    """Lock the data folder, check that every port is free, empty what is scratch; return the watchdog's lock."""
    lock = None if stack.folder is None else _lock_folder(stack, Path(stack.folder))
    for host in {process.host for process in stack.processes}:
        _check_host(stack, host)
    taken = []
    for process in stack.processes:
        port = stack.port(process)
        problem = None if port is None else _problem(process.host, port)
        if process.listens is not None and problem is not None:
            variable = stack.variable(process.listens)
            taken.append(f"port {port} on {process.host} {problem}: set {variable} to a free one for {process.name}")
    if taken:
        taken.append("or stop what listens there; it may be another stack with another data folder")
        raise Taken("\n".join(taken))
    if stack.scratch is not None:
        _empty(Path(stack.scratch))
    return lock


def _empty(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise Taken(f"the scratch folder cannot be emptied: {error}") from error


def _lock_folder(stack: Stack, folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        supervisor, watchdog = _open(folder / "supervisor.lock"), _open(folder / "watchdog.lock")
    except OSError as error:
        raise Taken(f"the data folder cannot be used: {error}") from error
    if not _lock(supervisor):
        owner = os.pread(supervisor, 20, 0).decode(errors="replace")
        raise Taken(
            f"another stack (process {owner}) runs on the data folder {folder}: stop it, "
            f"or set {stack.variable('data')} and the ports to run a second one"
        )
    deadline = time.monotonic() + DYING_SECONDS
    while not _lock(watchdog):
        if time.monotonic() > deadline:
            raise Taken(f"processes of a stack that was killed still run on the data folder {folder}")
        time.sleep(POLL_SECONDS)
    os.truncate(supervisor, 0)
    os.pwrite(supervisor, str(os.getpid()).encode(), 0)
    return watchdog


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_host(stack: Stack, host: str) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listening:
            listening.bind(address)
    except OSError as error:
        raise Taken(f"cannot listen on {host} ({stack.variable('host')}): {error.strerror}") from error


def _problem(host: str, port: int) -> str | None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what just stopped does not count
        try:
            listening.bind(address)
        except OSError as error:
            return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
    with socket.socket(family, kind, protocol) as asking:
        asking.settimeout(CONNECT_SECONDS)
        return "is in use" if asking.connect_ex(address) == 0 else None
