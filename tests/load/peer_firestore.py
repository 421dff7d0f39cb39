"""The embedded Firestore as the peers have it: their array of numbers is exempt from indexes.

Firestore would index every number of it, as production does, and the peers would be measured by that. Anybody
who stores arrays exempts them, so this is in their favour and no more than fair.
"""

import argparse
import asyncio
import signal
from pathlib import Path

from infra.embedded.firestore import definitions
from infra.embedded.firestore.server import Server
from infra.embedded.firestore.storage import Storage

INDEXES = Path(__file__).with_name("peer_indexes.json")


async def serve(port: int, data: Path) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    storage = Storage(data, defined=definitions.read(INDEXES))
    server = Server(storage, "127.0.0.1", port)
    await server.start()
    await stop.wait()
    await server.stop()
    await storage.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.data))
