"""Relays TCP connections to the Unix socket on which gRPC listens.

gRPC cannot accept connections on an inherited socket. If gRPC bound the port itself, another program could bind the
port while Firestore restarts, and respond to the clients instead of Firestore. Therefore, the supervisor holds the
listening socket of the port, and this process relays its connections. While Firestore restarts, new connections wait.

The processes of the stack connect to the Unix socket directly, without the relay.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

MAX_CONNECTIONS = 512
"""Further connections are closed immediately, so that idle connections cannot use up the file descriptors of this
process.
"""

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
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start to accept connections."""
        self._servers = [await asyncio.start_server(self._accept, sock=listening) for listening in self._sockets]

    async def stop(self) -> None:
        """Stop accepting connections, and close the open connections."""
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        connection = asyncio.create_task(self._relay(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy bytes in both directions until one side closes its connection."""
        try:
            grpc_reader, grpc_writer = await asyncio.open_unix_connection(self._unix_socket)
        except OSError as error:
            logger.warning("cannot relay a connection to gRPC: %s", error)
            writer.transport.abort()
            return
        copying = [asyncio.create_task(_copy(*way)) for way in ((reader, grpc_writer), (grpc_reader, writer))]
        try:
            await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in copying:
                task.cancel()
            await asyncio.gather(*copying, _close(writer), _close(grpc_writer), return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # the connection is lost
        while chunk := await reader.read(MAX_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Send the remaining bytes and close the connection. Drop the bytes if the other side does not read them."""
    writer.close()
    try:
        with contextlib.suppress(OSError):  # the connection is lost, or CLOSE_SECONDS are over
            async with asyncio.timeout(CLOSE_SECONDS):
                await writer.wait_closed()
    finally:
        writer.transport.abort()
