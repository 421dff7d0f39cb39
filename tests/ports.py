"""Free ports for the servers of tests.

The ports are below the range from which the system chooses ports of clients. A port in that range might be used
by a client between stopping a server and restarting it.

A port is free until its server starts. This module therefore returns each port once, and each test process of
pytest-xdist has ports of its own.
"""

import os
import random
import socket

_MAX_PROCESSES = 8
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _MAX_PROCESSES
_unused = list(range(10_240 + _PROCESS, 32_768, _MAX_PROCESSES))
random.SystemRandom().shuffle(_unused)


def free_port() -> int:
    """Return a port of this machine on which no server listens, and which no other call returns."""
    while True:
        port = _unused.pop()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
