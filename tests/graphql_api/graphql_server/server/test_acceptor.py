"""New connections are accepted in time, however many wait, and however busy the event loop is."""

import asyncio
import errno
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SHUT_WR, SO_LINGER, SO_RCVBUF, SOL_SOCKET, create_connection, create_server, socket
from typing import cast
from unittest.mock import Mock, patch

import pytest
import uvloop

from graphql_api.configuration.certificate import Certificate
from graphql_api.graphql_server.server.acceptor import Acceptor
from tests.certificates import certificate
from tests.stack import PATIENCE_SECONDS


class Turns:
    """Accepts `number` connections, and records in which turn of the event loop each was made.

    Each connection takes `seconds` of the event loop, and each turn takes `other_work_seconds`. The acceptor reads the
    time here: on a busy machine, any real work can take many times as long.
    """

    def __init__(
        self, number: int, seconds: float = 0.0, other_work_seconds: float = 0.0, max_waiting: int = 4_000
    ) -> None:
        self.on_first_connection: Callable[[], None] = lambda: None
        self.made: list[int] = []
        self.peers: list[object] = []
        self._number = number
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._other_work_seconds = other_work_seconds
        self._turn = self._ended = 0
        self._now = 0.0
        self._is_done = asyncio.Event()

    async def accept(self, listening: socket) -> None:
        """Accept the connections of a listening socket. Each byte is the name of a client."""
        with patch("graphql_api.graphql_server.server.acceptor.time", self):
            acceptor = Acceptor(
                listening,
                lambda: _Connection(self),
                backlog=400,
                max_waiting=self._max_waiting,
                client_of=lambda head: head[:1].decode().strip(),
            )
            self._count_turns()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._is_done.wait()
            acceptor.close()

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self._now

    def record(self, peer: object) -> None:
        """Record a new connection."""
        if not self.made:
            self.on_first_connection()
        self._now += self._seconds
        self.made.append(self._turn)
        self.peers.append(peer)

    def record_end(self) -> None:
        """Record that a connection has ended."""
        self._ended += 1
        if self._ended == self._number:
            self._is_done.set()

    def _count_turns(self) -> None:
        self._turn += 1
        self._now += self._other_work_seconds
        if not self._is_done.is_set():
            asyncio.get_running_loop().call_soon(self._count_turns)


class _Connection(asyncio.Protocol):
    """A connection that is closed at once: an event loop with open connections cannot be closed."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._turns.record(transport.get_extra_info("peername"))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._turns.record_end()


@pytest.fixture
def listening() -> Iterator[socket]:
    """A socket that queues connections."""
    with create_server(("127.0.0.1", 0), backlog=400) as opened:
        yield opened


def connect(listening: socket, number: int, *, is_reset: bool = False) -> list[socket]:
    """Open connections, which the kernel queues. Close those to be reset at once."""
    connections = [create_connection(listening.getsockname()) for _ in range(number)]
    if is_reset:
        for connection in connections:
            connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
    return connections


def turns_until_accepted(listening: socket, number: int, max_waiting: int = 4_000, **work: float) -> list[int]:
    """Accept `number` connections. Return the turn of the event loop in which each was made."""
    turns = Turns(number, max_waiting=max_waiting, **work)
    uvloop.run(turns.accept(listening))
    return turns.made


@pytest.fixture
def waiting(listening: socket) -> Iterator[None]:
    """200 connections that wait to be accepted."""
    connections = connect(listening, 200)
    yield
    for connection in connections:
        connection.close()


@pytest.mark.usefixtures("waiting")
def test_a_limited_number_of_accepted_connections_waits(listening: socket) -> None:
    """Each is an open file. The others wait in the kernel, and all are opened in the end."""
    turns = turns_until_accepted(listening, 200, max_waiting=8)

    assert len(turns) == 200
    assert max(Counter(turns).values()) <= 8


@pytest.mark.usefixtures("waiting")
def test_many_connections_are_accepted_in_one_turn_of_the_event_loop(listening: socket) -> None:
    """uvloop itself accepts one."""
    turns = turns_until_accepted(listening, 200)

    assert turns[-1] - turns[0] < 20


@pytest.mark.usefixtures("waiting")
def test_a_turn_accepts_a_bounded_number_of_connections(listening: socket) -> None:
    """Other work of the event loop goes on between them."""
    turns = turns_until_accepted(listening, 200)

    assert max(Counter(turns).values()) <= 64


@pytest.mark.usefixtures("waiting")
def test_a_busy_event_loop_opens_fewer_connections_in_a_turn(listening: socket) -> None:
    """Each new client needs about ten turns. They would all be long if each opened as many connections as possible."""
    turns = turns_until_accepted(listening, 200, seconds=0.001)

    assert max(Counter(turns[100:]).values()) <= 8


@pytest.mark.usefixtures("waiting")
def test_a_process_with_long_iterations_still_opens_connections(listening: socket) -> None:
    """Other work makes its iterations long, so opening fewer connections would not make them shorter."""
    turns = turns_until_accepted(listening, 200, other_work_seconds=0.04)

    assert min(turns.count(turn) for turn in turns[:150]) >= 8


def test_connections_that_were_reset_get_no_protocol(listening: socket) -> None:
    """They do not delay the connection after them."""
    connect(listening, 300, is_reset=True)
    (connection,) = connect(listening, 1)

    turns = turns_until_accepted(listening, 1)

    assert len(turns) == 1
    connection.close()


def test_connections_that_their_clients_have_closed_come_last(listening: socket) -> None:
    """A client may close its side after a request and still read the response, so they are not dropped."""
    closed = connect(listening, 100)
    for connection in closed:
        connection.shutdown(SHUT_WR)
    (opened,) = connect(listening, 1)
    turns = Turns(101)

    uvloop.run(turns.accept(listening))

    assert turns.peers[0] == opened.getsockname()
    assert len(set(turns.peers)) == 101
    for connection in (*closed, opened):
        connection.close()


def test_connections_with_much_data_are_opened_one_by_one(listening: socket) -> None:
    """Reading their data takes long. Clients that upload would otherwise delay those with short requests."""
    uploads = connect(listening, 20)
    for connection in uploads:
        connection.sendall(bytes(60_000))
    short = connect(listening, 20)
    for connection in short:
        connection.sendall(bytes(1_000))
    turns = Turns(40)

    uvloop.run(turns.accept(listening))

    assert set(turns.peers[:20]) == {connection.getsockname() for connection in short}
    assert set(turns.peers[20:]) == {connection.getsockname() for connection in uploads}
    assert len(set(turns.made[20:])) == 20
    for connection in (*uploads, *short):
        connection.close()


def test_accepting_goes_on_after_the_process_has_run_out_of_files(
    listening: socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then, it does not keep the event loop busy."""
    refusals = [OSError(errno.EMFILE, "too many open files")]
    listening_socket = Mock(wraps=listening)
    listening_socket.accept = lambda: _raise(refusals.pop()) if refusals else listening.accept()
    monkeypatch.setattr("graphql_api.graphql_server.server.acceptor._PAUSE_SECONDS", 0.01)
    (connection,) = connect(listening, 1)

    turns = turns_until_accepted(listening_socket, 1)

    assert len(turns) == 1
    assert not refusals
    connection.close()


def test_connections_without_a_tls_handshake_are_closed_if_there_are_too_many(
    listening: socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The oldest are closed, even if all arrive at once. The limits on connections apply after the handshake only."""
    monkeypatch.setattr("graphql_api.graphql_server.server.acceptor._MAX_HANDSHAKES", 5)
    monkeypatch.setattr("graphql_api.graphql_server.server.acceptor._HANDSHAKE_SECONDS", 60)
    own = Certificate(*certificate(tmp_path).values())
    connections = connect(listening, 12)
    oldest, others = connections[:7], connections[7:]

    async def accept() -> None:
        acceptor = Acceptor(listening, asyncio.Protocol, backlog=400, max_waiting=400, certificate=own)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for connection in oldest:
                assert await asyncio.to_thread(connection.recv, 1) == b""
        acceptor.close()
        for connection in others:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)

    uvloop.run(accept())
    for connection in connections:
        connection.close()


def _raise(error: OSError) -> None:
    raise error


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the data of a connection that waits to be sent")
def test_the_kernel_keeps_little_of_a_response_that_a_client_does_not_read(listening: socket) -> None:
    """Its memory for connections belongs to the whole machine."""
    sent = 16 * 2**20

    async def accept() -> int:
        made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        acceptor = Acceptor(listening, lambda: _Sender(made, sent), backlog=1, max_waiting=1)
        with socket() as client:
            client.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
            transport = await made
            for _ in range(1_000):
                await asyncio.sleep(0)
            left = transport.get_write_buffer_size()
            transport.abort()
            acceptor.close()
            return left

    assert sent - uvloop.run(accept()) < 2**20


class _Sender(asyncio.Protocol):
    """A connection that sends data at once."""

    def __init__(self, made: "asyncio.Future[asyncio.Transport]", size: int) -> None:
        self._made = made
        self._size = size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.set_result(cast(asyncio.Transport, transport))
        self._made.result().write(bytes(self._size))
