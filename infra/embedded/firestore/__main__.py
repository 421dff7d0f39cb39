"""`python -m infra.embedded.firestore`: a durable Firestore on one port and one file."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from infra.embedded.firestore.server import PortInUse, Server
from infra.embedded.firestore.storage import Storage, StorageInUse

logger = logging.getLogger("firestore")


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.firestore", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=8080, help="port of gRPC; 0 takes a free one (default: 8080)")
    parser.add_argument("--data", type=Path, default=Path("firestore.sqlite"), help="file to keep everything in")
    return parser.parse_args()


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as opened:
        storage = Storage(arguments.data)
        opened.push_async_callback(storage.close)
        server = Server(storage, arguments.host, arguments.port)
        # Companions that share the storage are opened here: they are closed after the server, before the file.
        await server.start()
        opened.push_async_callback(server.stop)
        logger.info(
            "Firestore is ready: FIRESTORE_EMULATOR_HOST=%s:%d (data in %s)",
            arguments.host,
            server.port,
            arguments.data,
        )
        await stop.wait()
        logger.info("Firestore is stopping")


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(serve(arguments))
    except (PortInUse, StorageInUse) as problem:
        logger.error("%s", problem)  # noqa: TRY400 - the message says it all
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
