"""Serve the API: `python -m graphql_api`.

With `--sockets` it accepts from listening sockets that it inherited, which other processes may share.
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

SWITCH_SECONDS = 0.001  # how long the event loop waits, each time, for a thread that reads a large sample
GARBAGE_OBJECTS = 20_000  # a request makes hundreds, and leaves none that only a collection could find

MAX_OPEN_FILES = 10_240


def main() -> None:
    """Read the settings and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m graphql_api", description=__doc__)
    parser.add_argument("--sockets", type=_sockets, help="file descriptors, by commas, to listen on")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        settings = Settings.from_environ()
    except ValueError as error:
        sys.exit(f"error: {error}")
    _allow_many_connections()
    app = create_app(settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 20, 100)
    server = Server(app, host=settings.host, port=settings.api_port, on_shutdown=app.state.end_streams)
    server.run(arguments.sockets)


def _allow_many_connections() -> None:
    """Take what the system lets us have of open files: what it gives unasked is no more than 1,024, or 256."""
    given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if most == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, most)
    if given != resource.RLIM_INFINITY and given < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _sockets(descriptors: str) -> list[socket.socket]:
    return [socket.socket(fileno=int(descriptor)) for descriptor in descriptors.split(",")]


if __name__ == "__main__":
    main()
