"""All open connections. Idle connections may be closed to admit new connections.

A connection is idle while the server waits for its client:

- no request is in progress, or the headers or the body of a request are incomplete;
- the client does not read its response;
- the client of a WebSocket has not authenticated itself yet.

If a limit is reached, or if many idle connections use much memory, the server closes an idle connection. It compares
some that have been idle for the longest time, and selects one whose client has the most connections. A client that
opens connections and does not use them can therefore block neither other clients nor itself. It also does not end the
few connections that other clients keep open. A client is an address and, after a request with a valid credential, a
submitter.

The number of WebSockets whose clients have not authenticated themselves has a limit of its own, because they need more
memory than other connections.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from graphql_api import metrics
from graphql_api.budgets.address_budgets import AddressBudget, network
from graphql_api.budgets.budget import RETRY_SECONDS, Budget
from graphql_api.budgets.budgets import Budgets
from graphql_api.graphql_server.server.ending_turns import EndingTurns
from storage.documents.errors import Unavailable

_MAX_COMPARED = 64
"""The idle connections of which one makes room, but at most a quarter of all. Finding it takes about 10 µs."""


_MANY_IDLE_SHARE = 1 / 4
"""The share of all connections that may be idle while the process uses much memory.

With TLS, an idle connection can keep 240 KB. 4,000 of them would use 1 GiB, and the large requests of other clients
would be refused.
"""

_RESERVED_SHARE = 1 / 20
"""The share of all connections that are kept free or idle, for new clients, as long as many requests only wait."""


class OpenConnections:
    """The open connections of the process, within the budgets of their addresses and of the process."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._addresses: dict[str, _Address] = {}
        self._max_busy = budgets.connections.max_amount * (1 - _RESERVED_SHARE)
        self._max_idle = budgets.connections.max_amount * _MANY_IDLE_SHARE
        self.idle: _Queue = {}
        self.counts = Counter[str]()
        """Open connections, by client."""
        self.ending_turns = EndingTurns()
        """Ends the requests of connections that are closed."""

    @property
    def count(self) -> int:
        """The number of open connections."""
        return self._budgets.connections.used

    def admit(self, address: str, close: Callable[[], None]) -> "OpenConnection":
        """Count a new connection, which is idle. `close` closes it if its slot is needed.

        Raises `RateLimited` or `Unavailable` if a limit is reached and no other connection is idle.
        """
        key = network(address)
        of_address = self._addresses.get(key) or _Address(key, self._budgets.addresses.of(address))
        budget, budget_of_address = self._budgets.connections, of_address.budget.connections
        _make_room(budget_of_address, of_address.idle)
        _make_room(budget, self.idle)
        budget_of_address.take()
        if budget.used >= budget.max_amount:
            budget_of_address.give_back()
            metrics.limit_refusals(budget.limit).inc()
            raise self._error()
        budget.take()
        self._addresses[key] = of_address
        return OpenConnection(self, of_address, close)

    def make_reserve(self) -> None:
        """If nearly all connections are busy, refuse one of many requests that wait to start."""
        busy = self.count - len(self.idle)
        if busy > self._max_busy and self._budgets.request_turns.refuse(self._error()):
            metrics.limit_refusals(self._budgets.connections.limit).inc()

    def save_memory(self) -> None:
        """If many connections are idle and the process uses much memory, close an idle connection."""
        if len(self.idle) > self._max_idle and self._budgets.memory.is_nearly_used:
            _close_one(self.idle, "max_memory_mib")

    def remove(self, address: "_Address") -> None:
        """Stop counting a connection of `address`."""
        self._budgets.connections.give_back()
        address.budget.connections.give_back()
        if not address.budget.connections.used:
            del self._addresses[address.key]

    def _error(self) -> Unavailable:
        return Unavailable(
            "too many connections are open; connect again later",
            limit=self._budgets.connections.limit,
            retry_after=RETRY_SECONDS,
        )


class OpenConnection:
    """One open connection: busy or idle."""

    __slots__ = ("_address", "_all", "_client", "_is_open", "close")

    def __init__(self, connections: OpenConnections, address: "_Address", close: Callable[[], None]) -> None:
        self.close = close
        self._all = connections
        self._address = address
        self._is_open = True
        self._client = address.key
        self._all.counts[self._client] += 1
        self.set_idle()

    @property
    def connections_of_client(self) -> int:
        """The number of open connections of the same client."""
        return self._all.counts[self._client]

    def set_submitter(self, submitter: str) -> None:
        """Note that the client of this connection has sent a valid credential of a submitter."""
        client = f"{self._address.key} {submitter}"
        if client != self._client and self._is_open:
            self._uncount()
            self._client = client
            self._all.counts[client] += 1

    def become_websocket(self) -> None:
        """Count this connection as a WebSocket without authentication. At the limit, another one is closed."""
        if not self._is_open:
            return
        budget = self._address.budget.unauthenticated_websockets
        _make_room(budget, self._address.unauthenticated_websockets)
        budget.take()
        self._address.unauthenticated_websockets[self] = None

    def set_authenticated(self) -> None:
        """Note that the client of this WebSocket has authenticated itself. From now on, it is busy."""
        self.set_busy()
        self._forget_websocket()

    def set_busy(self) -> None:
        """Note that the server works for the client."""
        if self in self._all.idle:
            self._leave_queues()
            self._all.make_reserve()

    def set_idle(self) -> None:
        """Note that the server waits for the client, from now on."""
        if self._is_open:
            was_idle = self in self._all.idle
            self._leave_queues()
            self._all.idle[self] = self._address.idle[self] = None
            if not was_idle:  # a streamed body notes that its connection is idle with each part
                self._all.save_memory()

    def end(self) -> None:
        """Give the slot of this connection back."""
        if self._is_open:
            self._is_open = False
            self._leave_queues()
            self._uncount()
            self._forget_websocket()
            self._all.remove(self._address)
            self.close = _do_nothing  # without this, each connection is a reference cycle

    def _leave_queues(self) -> None:
        self._all.idle.pop(self, None)
        self._address.idle.pop(self, None)

    def _uncount(self) -> None:
        counts = self._all.counts
        counts[self._client] -= 1
        if not counts[self._client]:
            del counts[self._client]

    def _forget_websocket(self) -> None:
        if self in self._address.unauthenticated_websockets:
            del self._address.unauthenticated_websockets[self]
            self._address.budget.unauthenticated_websockets.give_back()


_Queue = dict[OpenConnection, None]
"""Idle connections, in the order in which they became idle."""


@dataclass(slots=True)
class _Address:
    """The connections of one address."""

    key: str
    budget: AddressBudget
    idle: _Queue = field(default_factory=dict)
    unauthenticated_websockets: _Queue = field(default_factory=dict)


def _make_room(budget: Budget, idle: _Queue) -> None:
    if budget.used >= budget.max_amount and idle:
        _close_one(idle, budget.limit)


def _close_one(idle: _Queue, limit: str) -> None:
    """Close one of the idle connections, because a limit is reached."""
    longest_idle = islice(idle, min(_MAX_COMPARED, 1 + len(idle) // 4))
    connection = max(longest_idle, key=lambda each: each.connections_of_client)
    close = connection.close
    connection.end()
    metrics.closed_idle_connections(limit).inc()
    close()


def _do_nothing() -> None:
    pass
