"""Accepts the connections of a listening socket, several in each iteration of the event loop.

uvloop accepts one connection per iteration. While the loop is busy with other clients, a new client would wait for one
iteration per connection in the queue before it. Clients can fill this queue easily: they open connections and close
them at once. A connection that is already reset is therefore dropped before memory is allocated for it.

Accepting a connection is much cheaper than opening it, which creates its objects and starts its first request. New
connections are therefore accepted at once, and clients take turns to have them opened (`waiting_connections.py`). A
client that opens thousands of connections delays other clients by one connection.

Two kinds of connections wait in queues of their own: connections that their clients have closed for sending, and
connections that have already received much data. Each iteration opens one connection of each queue, and clients take
turns. Reading much data takes long, so clients that upload would delay all other new clients (measured in
docs/measurements/attacks.md). With TLS, no client sends much data before its connection is open, so the second queue
stays empty.
"""

import asyncio
import fcntl
import logging
import math
import socket
import struct
import termios
import time
from collections.abc import Callable
from functools import partial
from typing import cast

from graphql_api.budgets.address_budgets import network
from graphql_api.budgets.rotation import FairQueue, Rotation
from graphql_api.configuration.certificate import Certificate
from graphql_api.graphql_server.server.tls.connection import open_with_tls
from graphql_api.graphql_server.server.tls.handshakes import Handshakes
from graphql_api.graphql_server.server.tls.records import RecordTurns
from graphql_api.graphql_server.server.waiting_connections import ClientOf, WaitingConnections
from graphql_api.graphql_server.tcp_state import is_closed_by_client
from observability.throttled_log import ThrottledLog

_MAX_CONNECTIONS_PER_TURN = 32
_MIN_CONNECTIONS_PER_TURN = 4
_LONG_TURN_SECONDS = 0.005
"""After a longer iteration of the event loop, fewer connections are opened in the next one.

A new client waits for about ten iterations until it gets its response. All of these iterations would be long if each
opened as many connections as possible.
"""

_MIN_CONNECTIONS_PER_SECOND = 250
"""Connections that are opened even if all iterations are long, because the process has much other work."""

_MAX_ACCEPTED_PER_TURN = 500
"""The same number may leave the queue in a turn, with those that are dropped or postponed. Each takes 10 to 20 µs."""

_MAX_CLOSED_PER_TURN = 100
"""The oldest connections that leave the queue after a turn has opened as many as allowed, if their clients have closed
them. Otherwise, the connection of another client waits until thousands of these had their turns.
"""

_MUCH_DATA_BYTES = 32 * 2**10
"""A connection that has received more data than this waits in a queue of its own."""

_MAX_QUEUED = 1_000
"""Connections in each of the two queues. Further connections that their clients have closed are dropped. Further
connections with much data are opened at once.
"""

MAX_UNSENT_BYTES = 128 * 2**10
"""Data of a connection that the kernel keeps before it can send the data.

Without this limit, the kernel takes up to 4 MiB of each response that a client does not read. 2,400 clients then took
1.9 GB. At this point, the kernel limits the memory of all connections of the machine, and other clients waited for 8 s.
"""

_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)

_PAUSE_SECONDS = 1.0
"""How long the process accepts no connection after it has run out of files or memory."""

_HANDSHAKE_SECONDS = 10.0

_MAX_HANDSHAKES = 2_000
"""TLS handshakes in progress."""

_MAX_WAITING_HANDSHAKES = 1_000
"""Connections that have sent data, and wait for the turn of their address to start a handshake. If there are more, the
oldest one of the address with the most of them is closed. Otherwise, one client could use up the files of the process.
"""

_log = ThrottledLog(logging.getLogger("graphql_api"))


class Acceptor:
    """Accepts connections until `close`. Each connection gets a protocol from `create_protocol`."""

    def __init__(
        self,
        listening: socket.socket,
        create_protocol: Callable[[], asyncio.Protocol],
        *,
        backlog: int,
        max_waiting: int,
        client_of: ClientOf = lambda _: "",
        certificate: Certificate | None = None,
    ) -> None:
        """Listen on a bound socket. `backlog` is the number of connections that wait to be accepted.

        At most `max_waiting` accepted connections wait until they are opened. The clients of an address that
        `client_of` knows take turns. With a `certificate`, the connections use TLS.
        """
        self._socket = listening
        self._create_protocol = create_protocol
        self._max_waiting = max_waiting
        self._certificate = certificate
        self._loop = asyncio.get_running_loop()
        self._max_opened = _MAX_CONNECTIONS_PER_TURN
        self._full_turn_at = math.inf
        """When the last turn started, if it opened as many connections as allowed. Otherwise infinity."""
        self._opening = Handshakes(_MAX_HANDSHAKES)
        """The tasks that wait for their clients, and not for their turn."""
        self._waiting = WaitingConnections(client_of)
        self._handshakes = FairQueue(is_shared=True)
        self._record_turns = RecordTurns()
        self._are_handshakes_starting = False
        self._with_much_data = Rotation[socket.socket]()
        self._closed = Rotation[socket.socket]()
        self._next: asyncio.Handle | None = None
        self._retry: asyncio.TimerHandle | None = None
        listening.listen(backlog)
        listening.setblocking(False)
        self._start()

    def close(self) -> None:
        """Stop listening. Connections that are open stay open."""
        for handle in (self._next, self._retry):
            if handle is not None:
                handle.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        while self._waiting:
            _, connection = self._waiting.take()
            connection.close()
        for queue in (self._with_much_data, self._closed):
            while queue:
                queue.take().close()

    def _start(self) -> None:
        self._retry = None
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(min(_MAX_ACCEPTED_PER_TURN, self._max_waiting - len(self._waiting))):
            try:
                connection, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                _log.warning("new connections wait, because the process cannot accept connections: %s", error)
                self._loop.remove_reader(self._socket.fileno())
                self._retry = self._loop.call_later(_PAUSE_SECONDS, self._start)
                break
            self._waiting.add(connection, address[0])
        self._schedule_opening()

    def _schedule_opening(self) -> None:
        if self._next is None and (self._waiting or self._with_much_data or self._closed):
            self._next = self._loop.call_soon(self._open_waiting)

    def _open_waiting(self) -> None:
        """Open some of the accepted connections in this iteration of the event loop."""
        self._next = None
        self._waiting.identify()
        postponed = [queue.take() for queue in (self._with_much_data, self._closed) if queue]
        now = time.monotonic()
        self._max_opened = self._connections_after(now - self._full_turn_at)
        self._full_turn_at = math.inf
        opened = 0
        for _ in range(min(_MAX_ACCEPTED_PER_TURN, len(self._waiting))):
            client, connection = self._waiting.take()
            if is_closed_by_client(connection):
                self._queue_closed(client, connection)
            elif len(self._with_much_data) < _MAX_QUEUED and _has_much_data(connection):
                self._with_much_data.add(client, connection)
            else:
                self._start_opening(connection)
                opened += 1
                if opened == self._max_opened:
                    self._full_turn_at = now
                    for each in self._waiting.take_closed(_MAX_CLOSED_PER_TURN):
                        self._queue_closed(*each)
                    break
        for connection in postponed:
            self._start_opening(connection)
        self._schedule_opening()

    def _connections_after(self, seconds: float) -> int:
        """Return how many connections to open if it took `seconds` since a turn that opened as many as allowed."""
        if seconds <= _LONG_TURN_SECONDS:
            return min(_MAX_CONNECTIONS_PER_TURN, self._max_opened + 1)
        allowed = max(_MIN_CONNECTIONS_PER_TURN, self._max_opened // 2, seconds * _MIN_CONNECTIONS_PER_SECOND)
        return int(min(_MAX_CONNECTIONS_PER_TURN, allowed))

    def _queue_closed(self, client: str, connection: socket.socket) -> None:
        """Let a connection wait in a queue of its own. A connection that was reset is dropped."""
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            connection.close()
        elif len(self._closed) < _MAX_QUEUED:
            self._closed.add(client, connection)
        else:
            _log.warning("dropped a connection that its client has closed, because %d others wait", _MAX_QUEUED)
            connection.close()

    def _start_opening(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        # Otherwise, small frames wait for acknowledgements.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _NOTSENT_LOWAT is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, MAX_UNSENT_BYTES)
        try:
            address = network(connection.getpeername()[0])
        except OSError:  # the client has disconnected
            connection.close()
            return
        task = self._loop.create_task(self._open(connection, address))
        task.add_done_callback(partial(self._end_opening, connection))
        self._opening.add(task, address)

    async def _open(self, connection: socket.socket, address: str) -> None:
        try:
            if self._certificate is None:
                await self._loop.connect_accepted_socket(self._create_protocol, connection)
            else:
                await self._open_with_tls(connection, address, self._certificate)
        except OSError:  # the client has disconnected, or the TLS handshake failed or took too long
            connection.close()

    async def _open_with_tls(self, connection: socket.socket, address: str, certificate: Certificate) -> None:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            await self._wait_for_data(connection)
        if not self._are_handshakes_starting:
            self._are_handshakes_starting = True
            self._loop.call_soon(self._start_handshakes, time.monotonic())
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._opening.remove(task)
        await self._wait_for_turn(address)
        if is_closed_by_client(connection):
            raise ConnectionResetError("the client has disconnected")
        self._opening.add(task, address)
        await open_with_tls(
            self._create_protocol,
            connection,
            certificate.context,
            self._record_turns,
            address=address,
            handshake_seconds=_HANDSHAKE_SECONDS,
        )

    async def _wait_for_turn(self, address: str) -> None:
        """Wait until a connection of `address` may start its handshake. If too many wait, close one of them."""
        turn = self._handshakes.new_turn(address)
        if len(self._handshakes) > _MAX_WAITING_HANDSHAKES:
            dropped = self._handshakes.take_from_longest(longer_than=0)
            assert dropped is not None
            dropped.cancel()
        await turn

    def _start_handshakes(self, last_at: float) -> None:
        """Start the handshake that has the next turn. After a long iteration of the event loop, start several."""
        now = time.monotonic()
        for _ in range(max(1, round((now - last_at) * _MIN_CONNECTIONS_PER_SECOND))):
            if not self._handshakes.grant():
                self._are_handshakes_starting = False
                return
        self._loop.call_soon(self._start_handshakes, now)

    async def _wait_for_data(self, connection: socket.socket) -> None:
        """Wait until a connection has received data, or its end."""
        arrived = asyncio.Event()
        self._loop.add_reader(connection.fileno(), arrived.set)
        try:
            await arrived.wait()
        finally:
            self._loop.remove_reader(connection.fileno())

    def _end_opening(self, connection: socket.socket, task: "asyncio.Task[None]") -> None:
        self._opening.remove(task)
        if task.cancelled():
            connection.close()


def _has_much_data(connection: socket.socket) -> bool:
    (received,) = struct.unpack("i", fcntl.ioctl(connection, termios.FIONREAD, bytes(4)))
    return int(received) > _MUCH_DATA_BYTES
