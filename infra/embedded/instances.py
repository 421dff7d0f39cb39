"""Instances: the supervisor runs a process of the stack file once, or several times on one shared port.

The supervisor opens the listening sockets and passes them to the instances. If an instance exits, the
connections that it has not accepted yet are not lost: the restarted instance accepts them.

On Linux, each instance has its own socket for the shared port, with SO_REUSEPORT. Linux distributes connections
evenly over these sockets. With one common socket, the fastest instance would accept most connections. macOS does
not distribute connections over sockets, so on macOS all instances use one common socket.

Any instance may accept a request to the shared port. Each instance therefore also listens on its own loopback
port, where the supervisor checks whether that instance is ready.
"""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from infra.embedded.preflight import PreflightError
from infra.embedded.stack import Process, Stack

BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a process. The name ends with a number if the process has several instances."""

    name: str
    process: Process
    command: tuple[str, ...]
    ready: str | None
    sockets: Sequence[socket.socket] = ()


def open_instances(stack: Stack) -> list[Instance]:
    """Return the instances of all processes, in the order of the stack file. Raises `PreflightError`."""
    return [instance for process in stack.processes for instance in _instances(stack, process)]


def _instances(stack: Stack, process: Process) -> Sequence[Instance]:
    port, host = stack.port(process), stack.host(process)
    if process.count_setting is None or port is None:
        return [Instance(process.name, process, process.command, process.ready)]
    count = int(stack.settings[process.count_setting])
    reuse_port = count > 1 and sys.platform == "linux"
    try:
        first = _listen(host, port, reuse_port)
        others = [_listen(host, port, reuse_port) if reuse_port else first for _ in range(1, count)]
        return [
            _instance(process, f"{process.name}.{number}" if count > 1 else process.name, sockets)
            for number, sockets in enumerate([first, *others], 1)
        ]
    except OSError as error:
        raise PreflightError(f"cannot listen on port {port} of {host} for {process.name}: {error.strerror}") from error


def _instance(process: Process, name: str, shared: Sequence[socket.socket]) -> Instance:
    own = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    sockets = [*shared, own]
    descriptors = ",".join(str(opened.fileno()) for opened in sockets)
    own_address = f"127.0.0.1:{own.getsockname()[1]}"
    return Instance(
        name,
        process,
        tuple(word.replace("{sockets}", descriptors) for word in process.command),
        process.ready and process.ready.replace("{own_address}", own_address),
        sockets,
    )


def _listen(host: str, port: int, reuse_port: bool) -> list[socket.socket]:
    """Listen on every address of `host`. A host name may have several addresses."""
    resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys((family, address[:2]) for family, _, _, _, address in resolved)
    return [
        socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=reuse_port)
        for family, address in addresses
    ]
