"""Ports for the servers of tests.

The trap: a port that the system would choose is one of those from which it connects clients, too. A server that a test
has stopped, to start it again at its port, would find a client there. So they are from below those.
"""

import random
import socket

_PORTS = range(10_240, 32_768)
_chance = random.SystemRandom()


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    while True:
        port = _chance.choice(_PORTS)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
