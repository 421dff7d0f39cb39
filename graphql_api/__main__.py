"""Serve the API: `python -m graphql_api`.

With `--sockets`, the process accepts connections on inherited listening sockets. Other processes may share them.
"""

import argparse
import logging
import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from graphql_api.app import create_app
from graphql_api.configuration.network_settings import parse_proxies
from graphql_api.configuration.settings import Settings
from graphql_api.graphql_server import ServerSettings
from graphql_api.graphql_server.server.uvicorn_server import Server
from observability import logs, tracing
from runtime import memory_release
from runtime.listening_sockets import bind_setting, parse_sockets
from storage.firestore.environment import selected_firestore

_SWITCH_INTERVAL_SECONDS = 0.001
"""How long a thread that validates a large sample can run before the event loop runs. Python's default is 5 ms."""

_NEW_OBJECTS = 5_000
"""New objects between two garbage collections. A collection visits at most ten times this number."""

_MAX_OPEN_FILES = 13_824

_RESERVED_FILES = 512
"""Open files that are not client connections: Firestore, metrics, web pages, and connections that are refused."""

_STARTING_FILES = 5_000
"""Connections that have disconnected, sent much data, or start TLS before they are open."""

_MAX_WAITING_OF_SEVERAL = 32
"""With a higher limit, one of two processes accepted all of 256 connections in the queue."""


def main() -> None:
    """Read the settings and serve until a signal stops the process."""
    parser = argparse.ArgumentParser(prog="python -m graphql_api", description=__doc__)
    parser.add_argument("--sockets", type=parse_sockets, metavar="FD,FD", help="file descriptors of listening sockets")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_environ()
        logs.configure(settings.log_format)
        tracing.configure("dropzone-api")
        selected_firestore()
        max_open_files = _raise_open_file_limit()
        settings = _within_open_files(settings, max_open_files)
        max_waiting = max_waiting_connections(settings.limits.max_connections, max_open_files, os.environ)
        sockets = arguments.sockets or bind_setting(
            settings.host, settings.api_port, "DROPZONE_HOST, DROPZONE_API_PORT"
        )
    except ValueError as error:
        sys.exit(f"error: {error}")
    warn_of_other_machines(settings)
    # uvicorn raises the signal again after the shutdown. The first process of a container ignores this signal, and
    # would wait for its threads. SIGINT, as from Ctrl-C, would print a traceback.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    app = create_app(settings)
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    memory_release.configure(_NEW_OBJECTS)
    server = Server(
        app,
        app.state.budgets,
        settings=ServerSettings(max_waiting_connections=max_waiting, shutdown_seconds=settings.shutdown_seconds),
        on_shutdown=app.state.end_streams,
        client_of=app.state.client_of,
        trusted_proxies=parse_proxies(settings.trusted_proxies),
        certificate=settings.read_certificate(),
    )
    server.run(sockets)


def _exit(*_: object) -> None:
    tracing.shutdown()
    os._exit(0)


def warn_of_other_machines(settings: Settings) -> None:
    """Log a warning if other machines can connect."""
    try:
        is_loopback = settings.host == "localhost" or ip_address(settings.host).is_loopback
    except ValueError:  # a host name
        is_loopback = False
    if is_loopback:
        return
    if settings.has_tls:
        advice = "block /metrics in a firewall or a reverse proxy, because /metrics requires no key"
    else:
        advice = (
            "use a reverse proxy with TLS or DROPZONE_TLS_CERTIFICATE_FILE, because keys and samples are not "
            "encrypted; block /metrics in the proxy or a firewall, because /metrics requires no key"
        )
    logging.getLogger("graphql_api").warning(
        "DROPZONE_HOST is %s, so other machines can connect: %s", settings.host, advice
    )


def _raise_open_file_limit() -> int:
    """Allow a few thousand connections. The default limit of open files is 1,024 on Linux and 256 on macOS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(_MAX_OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= limit:
        return limit
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):  # macOS can have a lower limit than the hard limit that it reports
        return soft
    return limit


def _within_open_files(settings: Settings, max_open_files: int) -> Settings:
    """Return the settings with a lower limit of connections if the process may not open enough files.

    Raises `ValueError` if no file would be left for connections.
    """
    max_connections = max_open_files - _RESERVED_FILES
    if max_connections < 1:
        raise ValueError(f"the process may open only {max_open_files} files; raise `ulimit -n` above {_RESERVED_FILES}")
    if settings.limits.max_connections <= max_connections:
        return settings
    logging.getLogger("graphql_api").warning(
        "the server accepts at most %d connections instead of %d, because the process may open only %d files; raise "
        "`ulimit -n`",
        max_connections,
        settings.limits.max_connections,
        max_open_files,
    )
    return replace(settings, limits=replace(settings.limits, max_connections=max_connections))


def max_waiting_connections(max_connections: int, max_open_files: int, environ: Mapping[str, str]) -> int:
    """Return how many accepted connections can wait until they are opened.

    They are open files besides the open connections. If they used up all files, the process could neither accept
    connections nor connect to Firestore. If several processes share the port, a process accepts only what it opens at
    once, and leaves the rest to the others. Raises `ValueError` if the environment has no valid number of processes.
    """
    processes = environ.get("DROPZONE_API_PROCESSES") or "1"
    if not (processes.isascii() and processes.isdecimal()):
        raise ValueError(f"DROPZONE_API_PROCESSES must be a number, got {processes}")
    if int(processes) > 1:
        return _MAX_WAITING_OF_SEVERAL
    free = max_open_files - _RESERVED_FILES - _STARTING_FILES - max_connections
    return min(ServerSettings().max_waiting_connections, max(free, _RESERVED_FILES // 4))


if __name__ == "__main__":
    main()
