"""Serve an ASGI application on inherited listening sockets: `python -m infra.embedded.asgi_server`.

The command of uvicorn accepts one inherited socket. A process of the stack has at least two: the port that its
instances share, and its own port.
"""

import argparse
import socket

import uvicorn


def main() -> None:
    """Serve until a signal stops the process."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.asgi_server", description=__doc__)
    parser.add_argument("--sockets", type=_sockets, required=True, metavar="FD,FD", help="listening sockets")
    parser.add_argument("factory", metavar="MODULE:FUNCTION", help="a function that returns the application")
    arguments = parser.parse_args()
    config = uvicorn.Config(
        arguments.factory,
        factory=True,
        log_config=None,  # the application configures the log
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    uvicorn.Server(config).run(arguments.sockets)


def _sockets(descriptors: str) -> list[socket.socket]:
    return [socket.socket(fileno=int(descriptor)) for descriptor in descriptors.split(",")]


if __name__ == "__main__":
    main()
