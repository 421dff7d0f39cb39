"""`python -m infra.embedded.firestore`: a durable Firestore server that stores its data in one file."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

# grpc reads this variable when it is imported. With this value, the thread that polls for calls also reads connections.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")

import uvloop

from infra.embedded.eventarc import schedule, trigger
from infra.embedded.eventarc.dispatcher import Dispatcher
from infra.embedded.firestore.api.firestore_server import FirestoreServer, PortInUse
from infra.embedded.firestore.data_file.file_format import UnusableFile
from infra.embedded.firestore.data_file.lock_file import StorageInUse
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.storage.checkpoints import MAX_LOG_BYTES
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.writer import WriterEnded
from infra.embedded.firestore.transport.rpc import BearerToken, CallsEnded
from infra.embedded.firestore.transport.tcp_relay import TcpRelay
from infra.embedded.firestore.writes import rate_limits
from infra.embedded.firestore.writes.maintenance import run_maintenance
from infra.embedded.stack_file import reader
from infra.embedded.stack_file.stack import StackError
from observability import logs, tracing
from runtime import memory_release
from runtime.listening_sockets import parse_sockets

MIB = 1024 * 1024
MIN_WAL_MIB, MAX_WAL_MIB = 32, 1024

SHORT_BUILD_SECONDS = 2.0
"""How long the server waits for index builds before it opens the port. Longer builds continue while the server runs."""

NEW_OBJECTS = 20_000
"""New objects between two garbage collections. A commit allocates thousands of objects, almost none of them in
reference cycles.
"""

logger = logging.getLogger("firestore")


class Parser(argparse.ArgumentParser):
    """A parser whose errors have one line, because the supervisor writes each line into the log."""

    def error(self, message: str) -> NoReturn:
        """Print the error, and exit with 2."""
        self.exit(2, f"error: {message}\n")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(prog="python -m infra.embedded.firestore", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=8080, help="gRPC port; 0 selects a free port (default: 8080)")
    parser.add_argument(
        "--data", type=Path, default=Path("firestore.sqlite"), help="SQLite file (default: firestore.sqlite)"
    )
    parser.add_argument(
        "--http-port",
        type=int,
        help="port of /healthz, /readyz, /metrics, and endpoints for dead letters and deletion",
    )
    parser.add_argument("--http-socket", type=Path, help="Unix socket of the same HTTP endpoints")
    parser.add_argument("--indexes", type=Path, help="firestore.indexes.json; queries that lack an index fail")
    parser.add_argument(
        "--create-indexes", action="store_true", help="with --indexes: create missing indexes and log their definitions"
    )
    parser.add_argument(
        "--version-retention-seconds",
        type=float,
        default=3600.0,
        help="maximum age of a read time, in seconds; older document versions are deleted (default: 3600)",
    )
    parser.add_argument(
        "--max-wal-mib",
        type=parse_wal_mib,
        default=MAX_LOG_BYTES // MIB,
        help="size limit of SQLite's write-ahead log under load, in MiB (default: %(default)s)",
    )
    parser.add_argument(
        "--rate-limits",
        type=parse_rate_limits,
        default=(),
        help=f"write rates of production to enforce; comma-separated list of {', '.join(rate_limits.LIMIT_NAMES)}",
    )
    parser.add_argument(
        "--sockets",
        type=parse_sockets,
        metavar="FD,FD",
        help="accept connections on inherited listening sockets; requires --unix-socket",
    )
    parser.add_argument(
        "--unix-socket", type=Path, help="path of a Unix socket on which gRPC listens instead of --port"
    )
    parser.add_argument(
        "--log-format", choices=logs.FORMATS, default="text", help="format of the log on standard error (default: text)"
    )
    parser.add_argument(
        "--triggers",
        type=Path,
        help="TOML file with [[triggers]], which send document writes to URLs, and [[schedules]], which call URLs",
    )
    arguments = parser.parse_args()
    if (arguments.sockets is None) != (arguments.unix_socket is None):
        parser.error("expected both --sockets and --unix-socket, got one of them")
    return arguments


def parse_wal_mib(text: str) -> int:
    """Return a size of the write-ahead log in MiB."""
    if not (text.isascii() and text.isdecimal() and MIN_WAL_MIB <= int(text) <= MAX_WAL_MIB):
        raise argparse.ArgumentTypeError(
            f"expected a whole number from {MIN_WAL_MIB} to {MAX_WAL_MIB}, got {text!r}; the variable of `make run` is "
            "DROPZONE_FIRESTORE_MAX_WAL_MIB"
        )
    return int(text)


def parse_rate_limits(text: str) -> list[str]:
    """Return the names in a comma-separated list, which may be empty."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = set(names) - set(rate_limits.LIMIT_NAMES)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown rate limit: {', '.join(sorted(unknown))}; choose from {', '.join(rate_limits.LIMIT_NAMES)}; the "
            "variable of `make run` is DROPZONE_FIRESTORE_RATE_LIMITS"
        )
    return names


def read_triggers(path: Path | None) -> list[trigger.Trigger]:
    """Return the triggers of a file, which may be a stack file. Without a file, return no triggers."""
    return [] if path is None else trigger.read(reader.read(path, os.environ).triggers)


def read_schedules(path: Path | None) -> list[schedule.Schedule]:
    """Return the schedules of a file, as `read_triggers` does."""
    return [] if path is None else schedule.read(reader.read(path, os.environ).schedules)


def read_token() -> BearerToken | None:
    """Return the token that every call must have, or None if calls need no token.

    The token is not an option, because all users of the machine can read command lines.
    """
    token = os.environ.get("DROPZONE_FIRESTORE_TOKEN")
    return BearerToken(token) if token else None


def open_storage(arguments: argparse.Namespace) -> Storage:
    """Open the data file with the indexes and limits from the command line."""
    index_definitions = None if arguments.indexes is None else definitions.read(arguments.indexes)
    limits = arguments.rate_limits
    return Storage(
        arguments.data,
        version_retention_seconds=arguments.version_retention_seconds,
        definitions=index_definitions,
        creates_indexes=index_definitions is None or arguments.create_indexes,
        admission=partial(rate_limits.RateLimits, limits=limits) if limits else None,
        max_log_bytes=arguments.max_wal_mib * MIB,
    )


async def serve(
    arguments: argparse.Namespace, triggers: list[trigger.Trigger], schedules: list[schedule.Schedule]
) -> None:
    """Serve until SIGINT or SIGTERM, or until the writer, the server or a task in the background fails."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as resources:
        storage = open_storage(arguments)
        resources.push_async_callback(storage.close)
        await storage.wait_for_short_builds(SHORT_BUILD_SECONDS)
        token = read_token()
        server = FirestoreServer(storage, arguments.host, arguments.port, arguments.unix_socket, token)
        dispatcher = Dispatcher(storage, triggers)
        await dispatcher.open()
        work = dispatcher.run(), run_maintenance(storage), *(each.run() for each in schedules)
        background = [asyncio.create_task(each) for each in work]
        for task in background:
            resources.push_async_callback(cancel, task)
        await server.start()
        resources.push_async_callback(server.stop)
        if arguments.sockets is not None:
            relay = TcpRelay(arguments.unix_socket, arguments.sockets)
            await relay.start()
            resources.push_async_callback(relay.stop)
        if arguments.http_port is not None or arguments.http_socket is not None:
            await start_admin_endpoints(arguments, storage, server, dispatcher, token, resources)
        logger.info(
            "Firestore is ready: FIRESTORE_EMULATOR_HOST=%s:%d (data in %s)",
            arguments.host,
            server.port,
            arguments.data,
        )
        memory_release.configure(NEW_OBJECTS)
        background.append(asyncio.create_task(memory_release.release_memory(storage.release_memory)))
        resources.push_async_callback(cancel, background[-1])
        stopping = asyncio.create_task(stop.wait())
        failures: list[asyncio.Future[Any]] = [*background, storage.failed, server.failed]
        await asyncio.wait({stopping, *failures}, return_when=asyncio.FIRST_COMPLETED)
        for ended in failures:
            if ended.done():
                ended.result()
        logger.info("Firestore is stopping")


async def start_admin_endpoints(
    arguments: argparse.Namespace,
    storage: Storage,
    server: FirestoreServer,
    dispatcher: Dispatcher,
    token: BearerToken | None,
    resources: contextlib.AsyncExitStack,
) -> None:
    """Start the HTTP endpoints on `--http-port` and `--http-socket`."""
    # Imported here, because these modules are slow to import and a server alone does not need them.
    from infra.embedded.eventarc.admin_endpoints import DeliveryEndpoints
    from infra.embedded.firestore.api.admin_endpoints import AdminEndpoints

    endpoints = AdminEndpoints(storage, server, DeliveryEndpoints(storage).routes(), dispatcher.metrics, token)
    await endpoints.start(arguments.host, arguments.http_port, arguments.http_socket)
    resources.push_async_callback(endpoints.stop)


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended. Ignore that its last write fails if the writer has ended."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StatusError):
        await task


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments()
    logs.configure(arguments.log_format)
    try:
        tracing.configure("firestore")
    except ValueError as problem:
        sys.exit(f"error: {problem}")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            path = arguments.triggers
            runner.run(serve(arguments, read_triggers(path), read_schedules(path)))
    except (
        CallsEnded,
        PortInUse,
        StorageInUse,
        UnusableFile,
        definitions.InvalidDefinitions,
        schedule.InvalidSchedule,
        StackError,
        trigger.InvalidTrigger,
        WriterEnded,
    ) as problem:
        logger.error("%s", problem)  # noqa: TRY400 - the message is sufficient
        return 1
    finally:
        tracing.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
