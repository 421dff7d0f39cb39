"""`python -m infra.embedded.firestore`: a durable Firestore on one port and one file."""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path

# Read when grpc is imported. Connections are then read by the thread that waits for calls, not by others that wake it.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")

import uvloop

from infra.embedded import stack
from infra.embedded.eventarc import trigger
from infra.embedded.eventarc.dispatcher import Dispatcher
from infra.embedded.firestore.api.firestore_server import FirestoreServer, PortInUse
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.storage.storage import Storage, StorageInUse
from infra.embedded.firestore.writes import rate_limits
from infra.embedded.firestore.writes.maintenance import run_maintenance

GARBAGE_OBJECTS = 20_000  # a commit makes thousands, and leaves next to none that only a collection could find

logger = logging.getLogger("firestore")


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.firestore", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=8080, help="port of gRPC; 0 takes a free one (default: 8080)")
    parser.add_argument("--data", type=Path, default=Path("firestore.sqlite"), help="file to keep everything in")
    parser.add_argument(
        "--http-port", type=int, help="port of /healthz, /readyz, /metrics, dead letters and the reset for tests"
    )
    parser.add_argument("--indexes", type=Path, help="firestore.indexes.json; queries it does not serve are refused")
    parser.add_argument(
        "--create-indexes", action="store_true", help="create missing indexes instead, and print their definitions"
    )
    parser.add_argument(
        "--version-retention-seconds",
        type=float,
        default=3600.0,
        help="how far back reads of the past may go (default: an hour)",
    )
    parser.add_argument(
        "--limit-rates",
        type=read_limits,
        default=(),
        help=f"refuse what is faster than production takes, for {', '.join(rate_limits.LIMIT_NAMES)} (by commas)",
    )
    parser.add_argument("--triggers", type=Path, help="TOML file with [[triggers]]: which write calls which address")
    return parser.parse_args()


def read_limits(text: str) -> list[str]:
    """Return what a list by commas names; it may be empty."""
    named = [name.strip() for name in text.split(",") if name.strip()]
    unknown = set(named) - set(rate_limits.LIMIT_NAMES)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no such rate: {', '.join(sorted(unknown))}; there are {', '.join(rate_limits.LIMIT_NAMES)}"
        )
    return named


def read_triggers(path: Path | None) -> list[trigger.Trigger]:
    """Return the triggers of a stack file, or of a file that has nothing but triggers."""
    return [] if path is None else trigger.read(stack.read(path, os.environ).triggers)


async def serve(arguments: argparse.Namespace, triggers: list[trigger.Trigger]) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as opened:
        defined = None if arguments.indexes is None else definitions.read(arguments.indexes)
        creates_indexes = defined is None or arguments.create_indexes
        limits = arguments.limit_rates
        admission = partial(rate_limits.RateLimits, limits=limits) if limits else None
        storage = Storage(arguments.data, arguments.version_retention_seconds, defined, creates_indexes, admission)
        opened.push_async_callback(storage.close)
        server = FirestoreServer(storage, arguments.host, arguments.port)
        dispatcher = Dispatcher(storage, triggers)
        await dispatcher.open()
        delivering = asyncio.create_task(dispatcher.run())
        opened.push_async_callback(cancel, delivering)
        opened.push_async_callback(cancel, asyncio.create_task(run_maintenance(storage)))
        await server.start()
        opened.push_async_callback(server.stop)
        if arguments.http_port is not None:
            # Imported here because they are slow to import and mostly not asked for.
            from infra.embedded.eventarc.admin_endpoints import DeadLetterEndpoints
            from infra.embedded.firestore.api.admin_endpoints import AdminEndpoints

            endpoints = AdminEndpoints(storage, server, DeadLetterEndpoints(storage).routes())
            await endpoints.start(arguments.host, arguments.http_port)
            opened.push_async_callback(endpoints.stop)
        logger.info(
            "Firestore is ready: FIRESTORE_EMULATOR_HOST=%s:%d (data in %s)",
            arguments.host,
            server.port,
            arguments.data,
        )
        gc.freeze()  # what is there by now stays, and need not be gone through in search of garbage
        gc.set_threshold(GARBAGE_OBJECTS, 20, 100)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, delivering], return_when=asyncio.FIRST_COMPLETED)
        if delivering.done():
            delivering.result()
        logger.info("Firestore is stopping")


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(arguments, read_triggers(arguments.triggers)))
    except (
        PortInUse,
        StorageInUse,
        definitions.InvalidDefinitions,
        stack.StackError,
        trigger.InvalidTrigger,
    ) as problem:
        logger.error("%s", problem)  # noqa: TRY400 - the message says it all
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
