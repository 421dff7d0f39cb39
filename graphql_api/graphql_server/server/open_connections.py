"""All open connections. Idle connections may be closed to admit new connections.

A connection is idle while the server waits for its client:

- no request is in progress, or the headers or the body of a request are incomplete;
- the client does not read its response;
- the client of a WebSocket has not authenticated itself yet.

If a limit is reached, the server closes the connection that has been idle for the longest time. A client that opens
connections and does not use them can therefore block neither other clients nor itself. The number of WebSockets whose
clients have not authenticated themselves has a limit of its own, because they need more memory than other connections.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from graphql_api import metrics
from graphql_api.budgets.address_budgets import AddressBudget, network
from graphql_api.budgets.budget import RETRY_SECONDS, Budget
from graphql_api.budgets.budgets import Budgets
from graphql_api.graphql_server.server.ending_turns import EndingTurns
from storage.documents.errors import Unavailable


class OpenConnections:
    """The open connections of the process, within the budgets of their addresses and of the process."""

    def __init__(self, budgets: Budgets) -> None:
        self._addresses = budgets.addresses
        self._budget = budgets.connections
        self._connections: _Queue = {}
        self._clients: dict[str, _Client] = {}
        self.ending_turns = EndingTurns()
        """Ends the requests of connections that are closed."""

    @property
    def count(self) -> int:
        """The number of open connections."""
        return self._budget.used

    def admit(self, address: str, close: Callable[[], None]) -> "OpenConnection":
        """Count a new connection, which is idle. `close` closes it if its slot is needed.

        Raises `RateLimited` or `Unavailable` if a limit is reached and no other connection is idle.
        """
        key = network(address)
        client = self._clients.get(key) or _Client(key, self._addresses.of(address))
        _make_room(client.budget.connections, client.connections)
        _make_room(self._budget, self._connections)
        client.budget.connections.take()
        if self._budget.used >= self._budget.max_amount:
            client.budget.connections.give_back()
            metrics.limit_refusals(self._budget.limit).inc()
            raise Unavailable(
                "too many connections are open; connect again later",
                limit=self._budget.limit,
                retry_after=RETRY_SECONDS,
            )
        self._budget.take()
        self._clients[key] = client
        connection = OpenConnection(close, client, self._connections, lambda: self._give_back(client))
        client.connections[connection] = self._connections[connection] = None
        return connection

    def _give_back(self, client: "_Client") -> None:
        self._budget.give_back()
        client.budget.connections.give_back()
        if not client.budget.connections.used:
            del self._clients[client.key]


class OpenConnection:
    """One open connection: busy or idle."""

    __slots__ = ("_client", "_give_back", "_is_open", "_of_process", "close", "is_busy")

    def __init__(
        self, close: Callable[[], None], client: "_Client", of_process: "_Queue", give_back: Callable[[], None]
    ) -> None:
        self.close = close
        self._client = client
        self._of_process = of_process
        self._give_back = give_back
        self._is_open = True
        self.is_busy = False
        """Whether the server works for the client."""

    def become_websocket(self) -> None:
        """Count this connection as a WebSocket without authentication. At the limit, the oldest of them is closed."""
        if not self._is_open:
            return
        budget = self._client.budget.unauthenticated_websockets
        _make_room(budget, self._client.unauthenticated_websockets)
        budget.take()
        self._client.unauthenticated_websockets[self] = None

    def set_authenticated(self) -> None:
        """Note that the client of this WebSocket has authenticated itself. From now on, it is busy."""
        self.is_busy = True
        self._forget_websocket()

    def set_idle(self) -> None:
        """Note that the server waits for the client."""
        self.is_busy = False
        if self._is_open:
            of_client, of_process = self._client.connections, self._of_process
            del of_client[self], of_process[self]
            of_client[self] = of_process[self] = None

    def end(self) -> None:
        """Give the slot of this connection back."""
        if self._is_open:
            self._is_open = False
            del self._client.connections[self], self._of_process[self]
            self._forget_websocket()
            self._give_back()
            self._give_back = self.close = _do_nothing  # without this, each connection is a reference cycle

    def _forget_websocket(self) -> None:
        if self in self._client.unauthenticated_websockets:
            del self._client.unauthenticated_websockets[self]
            self._client.budget.unauthenticated_websockets.give_back()


_Queue = dict[OpenConnection, None]
"""Open connections. The idle connections are in the order in which they became idle."""


@dataclass(slots=True)
class _Client:
    """The connections of one address."""

    key: str
    budget: AddressBudget
    connections: _Queue = field(default_factory=dict)
    unauthenticated_websockets: _Queue = field(default_factory=dict)


def _make_room(budget: Budget, queue: _Queue) -> None:
    if budget.used < budget.max_amount:
        return
    connection = next((connection for connection in queue if not connection.is_busy), None)
    if connection is not None:
        close = connection.close
        connection.end()
        metrics.closed_idle_connections(budget.limit).inc()
        close()


def _do_nothing() -> None:
    pass
