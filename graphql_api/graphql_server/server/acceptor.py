"""Accepts the connections of a listening socket, several in each turn of the event loop.

uvloop accepts one connection per turn. While other clients keep the loop busy, a new client would have to wait for as
many turns as connections are before it. A client that resets its connections can fill this queue without an effort of
its own, so a connection that is already reset is dropped before anything is allocated for it.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import partial
from socket import IPPROTO_TCP, SO_ERROR, SOL_SOCKET, TCP_NODELAY, socket

from storage.firestore.throttled_log import ThrottledLog

_MAX_CONNECTIONS_PER_TURN = 32
_MAX_RESET_PER_TURN = 500

_PAUSE_SECONDS = 1.0
"""How long no connection is accepted after the process has run out of files or memory."""

_HANDSHAKE_SECONDS = 10.0

_MAX_HANDSHAKES = 500
"""TLS handshakes in progress. If there are more, the oldest is ended: a client that sends nothing shuts out no other.

The limits on connections apply after the handshake only.
"""

_log = ThrottledLog(logging.getLogger("graphql_api"))


class Acceptor:
    """Accepts connections until `close`. Each connection gets a protocol from `create_protocol`."""

    def __init__(
        self,
        listening: socket,
        create_protocol: Callable[[], asyncio.Protocol],
        *,
        backlog: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen on a bound socket. `backlog` is the number of connections that wait to be accepted."""
        self._socket = listening
        self._create_protocol = create_protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._opening: dict[asyncio.Task[None], None] = {}
        self._retry: asyncio.TimerHandle | None = None
        listening.listen(backlog)
        listening.setblocking(False)
        self._start()

    def close(self) -> None:
        """Stop listening. Connections that are open stay open."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _start(self) -> None:
        self._retry = None
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        accepted = 0
        for _ in range(_MAX_RESET_PER_TURN):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("new connections have to wait, because none can be accepted: %s", error)
                self._loop.remove_reader(self._socket.fileno())
                self._retry = self._loop.call_later(_PAUSE_SECONDS, self._start)
                return
            if connection.getsockopt(SOL_SOCKET, SO_ERROR):
                connection.close()
                continue
            connection.setblocking(False)
            connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # otherwise small frames wait for acknowledgements
            if len(self._opening) >= _MAX_HANDSHAKES:
                next(iter(self._opening)).cancel()
            task = self._loop.create_task(self._open(connection))
            self._opening[task] = None
            task.add_done_callback(partial(self._end_opening, connection))
            accepted += 1
            if accepted == _MAX_CONNECTIONS_PER_TURN:
                return

    async def _open(self, connection: socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._create_protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else _HANDSHAKE_SECONDS,
            )
        except OSError:  # the client has disconnected, or the TLS handshake failed
            connection.close()

    def _end_opening(self, connection: socket, task: "asyncio.Task[None]") -> None:
        del self._opening[task]
        if task.cancelled():
            connection.close()
