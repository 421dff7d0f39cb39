"""Free ports for the servers of tests.

The ports are below the range from which the system chooses ports of clients. A port in that range might be used
by a client between stopping a server and restarting it.
"""

import random
import socket

_PORTS = range(10_240, 32_768)
_random = random.SystemRandom()


def free_port() -> int:
    """Return a port of this machine on which no server listens."""
    while True:
        port = _random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
