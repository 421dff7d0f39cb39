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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

MAX_CONNECTIONS = 512
"""A further connection closes the one whose client has sent nothing for the longest time. Idle connections can
therefore neither use up the file descriptors of this process nor prevent new connections.
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
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: dict[asyncio.StreamWriter, None] = {}
        """The open connections. The first one is the one whose client has sent nothing for the longest time."""

    async def start(self) -> None:
        """Start to accept connections."""
        self._servers = [await asyncio.start_server(self._accept, sock=listening) for listening in self._sockets]

    async def stop(self) -> None:
        """Stop accepting connections, and close the open connections."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CONNECTIONS:
            silent = next(iter(self._clients))
            del self._clients[silent]
            silent.transport.abort()
        self._clients[writer] = None
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._relay(reader, writer)
        finally:
            self._clients.pop(writer, None)

    def _note_data(self, writer: asyncio.StreamWriter) -> None:
        """Note that a client has sent data, unless its connection is being closed."""
        if writer in self._clients:
            del self._clients[writer]
            self._clients[writer] = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy bytes in both directions until one side closes its connection."""
        try:
            grpc_reader, grpc_writer = await asyncio.open_unix_connection(self._unix_socket)
        except OSError as error:
            logger.warning("cannot relay a connection to gRPC: %s", error)
            writer.transport.abort()
            return
        copying = [
            asyncio.create_task(_copy(reader, grpc_writer, partial(self._note_data, writer))),
            asyncio.create_task(_copy(grpc_reader, writer, _do_nothing)),
        ]
        try:
            await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in copying:
                task.cancel()
            await asyncio.gather(*copying, _close(writer), _close(grpc_writer), return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_data: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):  # the connection is lost
        while chunk := await reader.read(MAX_CHUNK_BYTES):
            on_data()
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


def _do_nothing() -> None:
    pass
