"""A process of the stack file runs once, or as several instances side by side that share its port.

The supervisor holds the listening sockets and hands them on, so a connection that waits to be accepted by an
instance that dies is not lost: its successor accepts it. Linux spreads connections evenly over sockets that
share a port (SO_REUSEPORT), where instances that share one socket would leave most to whoever wakes first;
macOS does not spread them at all, so there it is one socket.
The trap: on a shared port nobody knows who answers, so each instance listens on a second port too, one of
its own on loopback, where it is asked whether it is ready.
"""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from infra.embedded.preflight import Taken
from infra.embedded.stack import Process, Stack

BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Instance:
    """One running command at a time: `name` is the process's, numbered where there are several."""

    name: str
    process: Process
    command: tuple[str, ...]
    ready: str | None
    sockets: Sequence[socket.socket] = ()


def open_instances(stack: Stack) -> list[Instance]:
    """Return the instances of every process, in the order of the file. Raises `Taken` where one cannot listen."""
    return [instance for process in stack.processes for instance in _instances(stack, process)]


def _instances(stack: Stack, process: Process) -> Sequence[Instance]:
    port = stack.port(process)
    if process.count is None or port is None:
        return [Instance(process.name, process, process.command, process.ready)]
    count = int(stack.settings[process.count])
    spread = count > 1 and sys.platform == "linux"
    try:
        first = _listen(process.host, port, spread)
        others = [_listen(process.host, port, spread) if spread else first for _ in range(1, count)]
        return [
            _instance(process, f"{process.name}.{number}" if count > 1 else process.name, listening)
            for number, listening in enumerate([first, *others], 1)
        ]
    except OSError as error:
        raise Taken(f"cannot listen on port {port} of {process.host} for {process.name}: {error.strerror}") from error


def _instance(process: Process, name: str, listening: Sequence[socket.socket]) -> Instance:
    own = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    sockets = [*listening, own]
    descriptors = ",".join(str(opened.fileno()) for opened in sockets)
    address = f"127.0.0.1:{own.getsockname()[1]}"
    return Instance(
        name,
        process,
        tuple(word.replace("{sockets}", descriptors) for word in process.command),
        process.ready and process.ready.replace("{own}", address),
        sockets,
    )


def _listen(host: str, port: int, spread: bool) -> list[socket.socket]:
    """Listen on every address of `host`: it may be a name that has several."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys((family, address[:2]) for family, _, _, _, address in found)
    return [
        socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=spread)
        for family, address in addresses
    ]
