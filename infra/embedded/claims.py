"""What a stack needs for itself alone: its data folder and its ports, claimed before anything starts.

The lock is on the open file and not on its name, so it goes when the last process that holds it ends,
kill -9 included. The trap of ports: servers may listen with SO_REUSEPORT and would then share a port in
silence, so a port counts as free only if it can be bound without, and if nobody answers there.
"""

import fcntl
import os
import socket
from pathlib import Path

from infra.embedded.stack import Stack

CONNECT_SECONDS = 0.5


class Taken(Exception):
    """Something that the stack needs is in use; the message names it, and the setting to change."""


def claim(stack: Stack) -> int | None:
    """Lock the data folder, check that every port is free; return the descriptor of the lock."""
    lock = None if stack.folder is None else _lock(stack, Path(stack.folder))
    host = str(stack.settings.get("host", "127.0.0.1"))
    taken = []
    for process in stack.processes:
        port = stack.port(process)
        if process.listens is not None and port is not None and not _is_free(host, port):
            variable = stack.variable(process.listens)
            taken.append(f"port {port} on {host} is in use: set {variable} to a free one for {process.name},")
    if taken:
        taken.append("or stop what listens there; it may be another stack with another data folder")
        raise Taken("\n".join(taken))
    return lock


def _lock(stack: Stack, folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Taken(f"the data folder cannot be used: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 20).decode(errors="replace")
        os.close(lock)
        raise Taken(
            f"another stack (process {owner}) runs, or is just stopping, on the data folder {folder}: "
            f"stop it, or set {stack.variable('data')} and the ports to run a second one"
        ) from None
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _is_free(host: str, port: int) -> bool:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what just stopped does not count
        try:
            listening.bind(address)
        except OSError:
            return False
    with socket.socket(family, kind, protocol) as asking:
        asking.settimeout(CONNECT_SECONDS)
        return asking.connect_ex(address) != 0
