"""The state of a TCP connection: whether its client has closed it.

The event loop reports the end of a connection only after the server has read all data before it. The kernel knows the
end as soon as it arrives. An HTTP connection sets `scope["state"][TRANSPORT]` to its transport, so that the work on a
long body can end as soon as its client is gone. A WebSocket sets `scope["state"][WRITABLE]` to an event that is set
unless much data waits to be sent.
"""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Protocol

TRANSPORT = "transport"
WRITABLE = "writable"

_TCP_INFO = getattr(socket, "TCP_INFO", None)
_CLOSED_STATES = frozenset({7, 8})
"""`TCP_CLOSE`, after a reset, and `TCP_CLOSE_WAIT`, after the client has closed its side (Linux, `tcp_states.h`)."""


class _Connection(Protocol):
    def getsockopt(self, level: int, name: int, size: int, /) -> bytes:
        """Return an option of the socket."""


def is_closed_by_client(connection: _Connection) -> bool:
    """Return whether the client has reset the connection, or has closed it for sending. False if it is not known."""
    return _TCP_INFO is not None and connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] in _CLOSED_STATES


def has_unread_end(transport: asyncio.Transport) -> bool:
    """Return whether the client has closed a connection that is open here, but not being read."""
    if transport.is_closing() or transport.is_reading():
        return False
    return is_closed_by_client(transport.get_extra_info("socket"))


def has_lost_client(scope: Mapping[str, Any]) -> bool:
    """Return whether the connection of a request is closed, or closed by its client. False if it is not known."""
    transport: asyncio.Transport | None = scope.get("state", {}).get(TRANSPORT)
    return transport is not None and (transport.is_closing() or has_unread_end(transport))


def is_disconnected(scope: Mapping[str, Any]) -> bool:
    """Return whether the connection of a request is closed. The server then discards everything that is sent."""
    transport: asyncio.Transport | None = scope.get("state", {}).get(TRANSPORT)
    return transport is not None and transport.is_closing()


async def wait_until_sent(scope: Mapping[str, Any]) -> None:
    """Wait until the client of a WebSocket has received almost all of the messages, or has disconnected."""
    writable: asyncio.Event | None = scope.get("state", {}).get(WRITABLE)
    if writable is not None:
        await writable.wait()
