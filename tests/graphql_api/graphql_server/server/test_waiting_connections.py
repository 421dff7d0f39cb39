"""Addresses take turns to have their connections opened, and so do the known clients of an address."""

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET, create_connection, create_server, socket
from typing import Any, cast

import pytest
import uvloop

from graphql_api.graphql_server.server.waiting_connections import WaitingConnections
from tests.graphql_api.graphql_server.server.test_acceptor import Turns, connect
from tests.stack import eventually


@pytest.fixture
def listening() -> Iterator[socket]:
    """A socket that queues connections."""
    with create_server(("127.0.0.1", 0), backlog=400) as opened:
        yield opened


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has several loopback addresses")
def test_addresses_take_turns(listening: socket) -> None:
    """A client that opens many connections does not delay a client of another address."""
    many = connect(listening, 200)
    other = create_connection(listening.getsockname(), source_address=("127.0.0.2", 0))
    turns = Turns(201)

    uvloop.run(turns.accept(listening))

    assert turns.peers.index(other.getsockname()) <= 3
    assert len(set(turns.peers)) == 201
    for connection in (*many, other):
        connection.close()


def test_the_newest_of_many_connections_of_an_address_is_opened_soon(listening: socket) -> None:
    """Otherwise, a health check would wait for all connections of an unknown client of the same address."""
    many = connect(listening, 200)
    (newest,) = connect(listening, 1)
    turns = Turns(201)

    uvloop.run(turns.accept(listening))

    assert turns.peers.index(newest.getsockname()) <= 3
    assert turns.peers.index(many[0].getsockname()) <= 3
    assert len(set(turns.peers)) == 201
    for connection in (*many, newest):
        connection.close()


def test_a_connection_does_not_wait_for_connections_that_are_closed(listening: socket) -> None:
    """Otherwise, a client that opens connections and closes them at once delays each other client of its address."""
    first = connect(listening, 35)
    closed = connect(listening, 150)
    (between,) = connect(listening, 1)
    last = connect(listening, 150)
    for connection in first + closed + [between]:
        connection.sendall(b" ")
    turns = Turns(336)

    def close() -> None:
        for connection in first + closed:
            connection.close()

    turns.on_first_connection = close
    uvloop.run(turns.accept(listening))

    opened = turns.made[turns.peers.index(between.getsockname())]
    assert opened <= turns.made[0] + 3
    for connection in (*last, between):
        connection.close()


def test_known_clients_of_an_address_take_turns(listening: socket) -> None:
    """A client that opens many connections does not delay another client, even if both have the same address."""
    many = connect(listening, 200)
    for connection in many[::2]:
        connection.sendall(b" ")  # a request without a key
    (known,) = connect(listening, 1)
    known.sendall(b"k")
    turns = Turns(201)

    uvloop.run(turns.accept(listening))

    assert turns.peers.index(known.getsockname()) <= 3
    assert len(set(turns.peers)) == 201
    for connection in (*many, known):
        connection.close()


def test_a_client_can_send_its_request_after_its_connection_was_accepted(listening: socket) -> None:
    """It takes turns as soon as the server knows it."""
    many = connect(listening, 390)
    (known,) = connect(listening, 1)
    turns = Turns(391, other_work_seconds=0.001)
    turns.on_first_connection = lambda: known.sendall(b"k")

    uvloop.run(turns.accept(listening))

    assert turns.peers.index(known.getsockname()) < 200
    assert len(set(turns.peers)) == 391
    for connection in (*many, known):
        connection.close()


def test_clients_with_much_data_take_turns(listening: socket) -> None:
    """A client that uploads over many connections does not delay the upload of another client."""
    uploads = connect(listening, 31)
    for connection, name in zip(uploads, "a" * 30 + "b", strict=True):
        connection.sendall(name.encode() * 60_000)
    turns = Turns(31)

    uvloop.run(turns.accept(listening))

    assert turns.peers.index(uploads[-1].getsockname()) <= 3
    for connection in uploads:
        connection.close()


def test_a_connection_that_is_reset_while_it_waits_is_closed(listening: socket) -> None:
    """Reading its data removes the error, so it would be opened otherwise."""
    waiting = WaitingConnections(lambda _: "")
    (connection,) = connect(listening, 1)
    accepted, address = listening.accept()
    waiting.add(accepted, address[0])

    def is_closed() -> bool:
        waiting.identify()
        return not waiting

    assert not is_closed()
    connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    eventually(is_closed)
    assert accepted.fileno() == -1


@dataclass(eq=False)
class ComparedConnection:
    """A connection that counts how often it is compared with another one."""

    data: bytes = b""
    comparisons: int = 0
    is_reset: bool = False
    is_closed: bool = False

    def recv(self, size: int, flags: int) -> bytes:
        """Return the data that has arrived."""
        if self.is_reset:
            raise ConnectionResetError
        return self.data

    def close(self) -> None:
        """Close the connection."""
        self.is_closed = True

    def __eq__(self, other: object) -> bool:
        self.comparisons += 1
        return self is other

    def __hash__(self) -> int:
        return id(self)


def test_finding_a_client_takes_as_long_if_thousands_of_connections_wait() -> None:
    """The queue of an address is not searched for the connection whose data has arrived."""
    waiting = WaitingConnections(lambda head: head.decode() if head.isupper() else "")
    connections = [ComparedConnection(b"x") for _ in range(1_000)] + [ComparedConnection() for _ in range(10)]
    for connection in connections:
        waiting.add(cast(Any, connection), "127.0.0.1")
    for connection in connections[-10:]:
        connection.data = b"K"

    waiting.identify()

    assert sum(each.comparisons for each in connections) == 0
    assert len(waiting) == len(connections)
    taken = [cast(Any, waiting.take()[1]) for _ in connections]
    assert not waiting
    assert [connections.index(each) for each in taken[1:20:2]] == [*range(1_000, 1_010)]
    assert len({id(each) for each in taken}) == len(connections)


def test_clients_that_are_found_later_give_their_turns_up() -> None:
    """The next connection of their address does not wait for the connections that were in front of it."""
    waiting = WaitingConnections(lambda head: head.decode() if head.isupper() else "")
    known, reset = [ComparedConnection() for _ in range(40)], [ComparedConnection() for _ in range(10)]
    other = ComparedConnection(b"x")
    for connection in (*known, *reset, other):
        waiting.add(cast(Any, connection), "127.0.0.1")
    for number, connection in enumerate(known):
        connection.data = b"K%d" % number
    for connection in reset:
        connection.is_reset = True

    waiting.identify()

    assert cast(Any, waiting.take()[1]) is other
    assert len(waiting) == len(known)
    assert all(each.is_closed for each in reset)
