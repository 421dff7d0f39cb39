"""Serve the API: `python -m graphql_api`.

With `--sockets`, the process accepts connections on inherited listening sockets. Other processes may share them.
"""

import argparse
import gc
import logging
import resource
import socket
import sys

from graphql_api.app import create_app
from graphql_api.graphql_server.server.uvicorn_server import Server
from graphql_api.settings import Settings

_SWITCH_INTERVAL_SECONDS = 0.001
"""How long a thread that validates a large sample runs before the event loop runs again. Python's default is 5 ms."""

_GC_THRESHOLD = 20_000
"""New objects between two garbage collections. A request creates hundreds of objects, but no reference cycles."""

_MAX_OPEN_FILES = 10_240


def main() -> None:
    """Read the settings and serve until a signal stops the process."""
    parser = argparse.ArgumentParser(prog="python -m graphql_api", description=__doc__)
    parser.add_argument("--sockets", type=_sockets, metavar="FD,FD", help="file descriptors of listening sockets")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        settings = Settings.from_environ()
    except ValueError as error:
        sys.exit(f"error: {error}")
    _raise_open_file_limit()
    app = create_app(settings)
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 100)
    server = Server(app, host=settings.host, port=settings.api_port, on_shutdown=app.state.end_streams)
    server.run(arguments.sockets)


def _raise_open_file_limit() -> None:
    """Allow a few thousand connections. The default limit of open files is 1,024 on Linux and 256 on macOS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(_MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _sockets(descriptors: str) -> list[socket.socket]:
    return [socket.socket(fileno=int(descriptor)) for descriptor in descriptors.split(",")]


if __name__ == "__main__":
    main()
