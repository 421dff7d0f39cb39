"""Accepted connections that wait until they are opened. Their clients take turns.

Many clients can have the same address, for example all clients of a company network. A client of such an address that
opens thousands of connections must not delay the others. The kernel keeps the data that a connection has received, so
this module can read the start of a request before the connection is opened. If the application knows the client, its
connections wait in a queue of their own. All other connections of an address wait in one queue.

With TLS, the data is encrypted, so all connections of an address wait in one queue.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from graphql_api.budgets.address_budgets import network
from graphql_api.budgets.loop_turns import Rotation

ClientOf = Callable[[bytes], str]
"""Returns the name of the client that sent the start of a request, or an empty text if it is not known."""

_MAX_HEAD_BYTES = 2_048
_MAX_SILENT = 64
"""New connections whose data has not arrived yet. Reading the data of each takes about 2 µs in each iteration."""


@dataclass(slots=True, eq=False)
class _Place:
    """The place of a connection in a queue."""

    queue: str
    connection: socket.socket
    is_left: bool = False
    """Whether the connection has left this place. Removing the place would take long, because it is near the end."""


class WaitingConnections:
    """The connections that wait, by address and client."""

    def __init__(self, client_of: ClientOf) -> None:
        self._client_of = client_of
        self._places = Rotation[_Place]()
        self._length = 0
        self._silent: dict[socket.socket, _Place] = {}
        """The last connections that had received no data, and their places."""

    def __len__(self) -> int:
        return self._length

    def add(self, connection: socket.socket, address: str) -> None:
        """Add a connection from an IP address. Close it if it was reset."""
        head = _received(connection)
        if head is None:
            connection.close()
            return
        place = self._add(f"{network(address)} {self._client_of(head)}", connection)
        if not head:
            self._silent[connection] = place
            if len(self._silent) > _MAX_SILENT:
                del self._silent[next(iter(self._silent))]

    def take(self) -> tuple[str, socket.socket]:
        """Remove the connection that has the next turn. Return it, and the name of its queue."""
        place = self._places.take()
        while place.is_left:
            place = self._places.take()
        self._silent.pop(place.connection, None)
        self._length -= 1
        return place.queue, place.connection

    def identify(self) -> None:
        """Find the clients of connections that have received data since then. Close connections that were reset."""
        for connection, place in list(self._silent.items()):
            head = _received(connection)
            if head == b"":
                continue
            del self._silent[connection]
            if head is None:
                self._leave(place)
                connection.close()
            elif client := self._client_of(head):
                self._leave(place)
                self._add(place.queue + client, connection)

    def _add(self, queue: str, connection: socket.socket) -> _Place:
        place = _Place(queue, connection)
        self._places.add(queue, place)
        self._length += 1
        return place

    def _leave(self, place: _Place) -> None:
        place.is_left = True
        self._length -= 1


def _received(connection: socket.socket) -> bytes | None:
    """Return the start of the data that a connection has received, or None if the connection was reset.

    The data can still be read. Reading the error of a reset removes this error from the connection.
    """
    try:
        return connection.recv(_MAX_HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""
    except OSError:
        return None
