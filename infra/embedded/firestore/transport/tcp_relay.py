"""Relays TCP connections to the Unix socket on which gRPC listens.

gRPC cannot accept connections on an inherited socket. If gRPC bound the port itself, another program could bind the
port while Firestore restarts, and respond to the clients instead of Firestore. Therefore, the supervisor holds the
listening socket of the port, and this process relays its connections. While Firestore restarts, new connections wait.

The processes of the stack connect to the Unix socket directly, without the relay. Other programs use the relay, which
limits their connections, frames and streams, so that they cannot delay the stack with frames that gRPC must process.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from infra.embedded.firestore.transport.http2_frames import with_max_streams
from infra.embedded.firestore.transport.relayed_frames import CONNECTION_UNITS, FrameBudget, RelayedFrames

MAX_CONNECTIONS = 512
"""A further connection closes the one whose client has sent nothing for the longest time. Idle connections can
therefore neither use up the file descriptors of this process nor prevent new connections.
"""

MAX_STREAMS = 500
"""The maximum of open streams of a connection. Its client learns it from the settings of the server, and then waits
with further calls. Production allows 100. Google's client for Node opens another connection there for each 100 calls.
Without TLS, it sends all its calls over one connection: with 100 listeners, any further call would wait forever.
"""

MAX_OPEN_STREAMS = 1_000
"""The maximum of open streams of all connections. A further one closes the connection with the most open streams."""

MAX_CHUNK_BYTES = 65_536

CLOSE_SECONDS = 1.0
"""How long a client may take to read the last bytes. Until then, its connection counts as open."""

logger = logging.getLogger(__name__)


class TcpRelay:
    """Accepts connections on inherited sockets until it is stopped."""

    def __init__(self, unix_socket: Path, sockets: Sequence[socket.socket]) -> None:
        self._unix_socket = unix_socket
        self._sockets = sockets
        self._servers: list[asyncio.Server] = []
        self._tasks: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._budget = FrameBudget()
        self._clients: dict[asyncio.StreamWriter, RelayedFrames] = {}
        """The open connections. The first one is the one whose client has sent nothing for the longest time."""

    async def start(self) -> None:
        """Start to accept connections."""
        self._servers = [await asyncio.start_server(self._accept, sock=listening) for listening in self._sockets]

    async def stop(self) -> None:
        """Stop accepting connections, and close the open connections."""
        for server in self._servers:
            server.close()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CONNECTIONS:
            self._abort(next(iter(self._clients)))
        self._clients[writer] = frames = RelayedFrames(self._budget, self._limit_streams)
        self._tasks[writer] = task = asyncio.create_task(self._serve(reader, writer, frames))
        task.add_done_callback(lambda _: self._tasks.pop(writer))

    def _limit_streams(self) -> None:
        if sum(len(frames.open_streams) for frames in self._clients.values()) > MAX_OPEN_STREAMS:
            self._abort(max(self._clients, key=lambda writer: len(self._clients[writer].open_streams)))

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        """Close a connection without relaying what has been read from it."""
        del self._clients[writer]
        writer.transport.abort()
        self._tasks[writer].cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: RelayedFrames) -> None:
        try:
            await self._budget.take(CONNECTION_UNITS)
            await self._relay(reader, writer, frames)
        finally:
            self._clients.pop(writer, None)
            writer.transport.abort()  # it is still open if the relay stops while the connection waits for the budget

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: RelayedFrames) -> None:
        """Copy bytes in both directions until one side closes its connection."""
        try:
            grpc_reader, grpc_writer = await asyncio.open_unix_connection(self._unix_socket)
        except OSError as error:
            logger.warning("cannot relay a connection to gRPC: %s", error)
            writer.transport.abort()
            return
        copying = [
            asyncio.create_task(self._copy_requests(reader, writer, grpc_writer, frames)),
            asyncio.create_task(_copy_responses(grpc_reader, writer, frames)),
        ]
        try:
            await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in copying:
                task.cancel()
            await asyncio.gather(*copying, _close(writer), _close(grpc_writer), return_exceptions=True)

    async def _copy_requests(
        self,
        reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        grpc_writer: asyncio.StreamWriter,
        frames: RelayedFrames,
    ) -> None:
        with contextlib.suppress(OSError):  # the connection is lost
            while chunk := await reader.read(MAX_CHUNK_BYTES):
                self._note_data(client)
                async for part in frames.admit(chunk):
                    if client.is_closing():
                        return
                    grpc_writer.write(part)
                    await grpc_writer.drain()

    def _note_data(self, client: asyncio.StreamWriter) -> None:
        """Note that a client has sent data, unless its connection is being closed."""
        if client in self._clients:
            self._clients[client] = self._clients.pop(client)


async def _copy_responses(
    grpc_reader: asyncio.StreamReader, client: asyncio.StreamWriter, frames: RelayedFrames
) -> None:
    with contextlib.suppress(OSError):  # the connection is lost
        chunk = with_max_streams(await grpc_reader.read(MAX_CHUNK_BYTES), MAX_STREAMS)
        while chunk:
            frames.note_responses(chunk)
            client.write(chunk)
            await client.drain()
            chunk = await grpc_reader.read(MAX_CHUNK_BYTES)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Send the remaining bytes and close the connection. Drop the bytes if the other side does not read them."""
    writer.close()
    try:
        with contextlib.suppress(OSError):  # the connection is lost, or CLOSE_SECONDS are over
            async with asyncio.timeout(CLOSE_SECONDS):
                await writer.wait_closed()
    finally:
        writer.transport.abort()
