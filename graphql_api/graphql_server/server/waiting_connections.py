"""Accepted connections that wait until they are opened. Their clients take turns.

Many clients can have the same address, for example all clients of a company network. A client of such an address that
opens thousands of connections must not delay the others. The kernel keeps the data that a connection has received, so
this module can read the start of a request before the connection is opened. If the application knows the client, its
connections wait in a queue of their own. All other connections of an address wait in one queue.

With TLS, the data is encrypted, so all connections of an address wait in one queue.
"""

import socket
from collections.abc import Callable

from graphql_api.budgets.address_budgets import network
from graphql_api.budgets.rotation import Rotation
from graphql_api.graphql_server.tcp_state import is_closed_by_client

ClientOf = Callable[[bytes], str]
"""Returns the name of the client that sent the start of a request, or an empty text if it is not known."""

_MAX_HEAD_BYTES = 2_048
_MAX_SILENT = 64
"""New connections whose data has not arrived yet. Reading the data of each takes about 2 µs in each iteration."""


class WaitingConnections:
    """The connections that wait, by address and client."""

    def __init__(self, client_of: ClientOf) -> None:
        self._client_of = client_of
        self._waiting = Rotation[tuple[str, socket.socket]](is_shared=True)
        self._silent: dict[socket.socket, str] = {}
        """The last connections that had received no data, and the names of their queues."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, connection: socket.socket, address: str) -> None:
        """Add a connection from an IP address. Close it if it was reset."""
        head = _received(connection)
        if head is None:
            connection.close()
            return
        name = f"{network(address)} {self._client_of(head)}"
        self._waiting.add(name, (name, connection))
        if not head:
            self._silent[connection] = name
            if len(self._silent) > _MAX_SILENT:
                del self._silent[next(iter(self._silent))]

    def take(self) -> tuple[str, socket.socket]:
        """Remove the connection that has the next turn. Return it, and the name of its queue."""
        name, connection = self._waiting.take()
        self._silent.pop(connection, None)
        return name, connection

    def take_closed(self, limit: int) -> list[tuple[str, socket.socket]]:
        """Remove the oldest connections of the longest queue until one that its client has not closed, as `take` does.

        Returns at most `limit` connections, and none if few wait.
        """
        taken = self._waiting.take_leading(lambda item: is_closed_by_client(item[1]), limit)
        for _, connection in taken:
            self._silent.pop(connection, None)
        return taken

    def identify(self) -> None:
        """Find the clients of connections that had received no data before. Close connections that were reset."""
        for connection, name in list(self._silent.items()):
            head = _received(connection)
            if head == b"":
                continue
            del self._silent[connection]
            if head is None:
                self._waiting.remove(name, (name, connection))
                connection.close()
            elif client := self._client_of(head):
                self._waiting.remove(name, (name, connection))
                self._waiting.add(name + client, (name + client, connection))


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
