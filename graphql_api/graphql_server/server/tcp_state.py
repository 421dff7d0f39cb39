"""The state of a TCP connection: whether its client has closed it.

The event loop reports the end of a connection only after the server has read all data before it. The kernel knows the
end as soon as it arrives.
"""

import asyncio
import socket
from typing import Protocol

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
