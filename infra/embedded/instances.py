"""Instances: the supervisor runs a process of the stack file once, or several times on one shared port.

The supervisor opens the listening sockets and passes them to the instances. While an instance restarts, no other
program can bind its port, and new connections wait until the restarted instance accepts them.

All instances of a process use one common socket, and the fastest instance accepts most connections. With the option
`reuse_port`, each instance has its own socket for the shared port on Linux, and Linux distributes connections evenly
over these sockets. Other programs of the same user can then listen on the port too. macOS does not distribute
connections over sockets, so the option has no effect there.

Any instance may accept a request to the shared port. Each instance therefore also listens on its own loopback port. The
supervisor uses this port to check whether the instance is ready and alive.
"""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from infra.embedded.preflight import PreflightError
from infra.embedded.stack_file.stack import Liveness, Process, Stack
from runtime.listening_sockets import bind

BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a process. The name ends with a number if the process has several instances."""

    name: str
    process: Process
    command: tuple[str, ...]
    ready: str | None
    liveness: Liveness | None
    sockets: Sequence[socket.socket] = ()


def open_instances(stack: Stack) -> list[Instance]:
    """Return the instances of all processes, in the order of the stack file. Raises `PreflightError`."""
    return [instance for process in stack.processes for instance in _instances(stack, process)]


def _instances(stack: Stack, process: Process) -> Sequence[Instance]:
    port, host = stack.port(process), stack.host(process)
    if port is None or not process.inherits_sockets:
        return [Instance(process.name, process, process.command, process.ready, process.liveness)]
    count = stack.count(process)
    reuse_port = process.reuse_port and count > 1 and sys.platform == "linux"
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

    def addressed(address: str) -> str:
        return address.replace("{own_address}", own_address)

    return Instance(
        name,
        process,
        tuple(word.replace("{sockets}", descriptors) for word in process.command),
        process.ready and addressed(process.ready),
        process.liveness and msgspec.structs.replace(process.liveness, address=addressed(process.liveness.address)),
        sockets,
    )


def _listen(host: str, port: int, reuse_port: bool) -> list[socket.socket]:
    sockets = bind(host, port, reuse_port=reuse_port)
    for each in sockets:
        each.listen(BACKLOG)
    return sockets
