"""A connection with TLS that decrypts a few records at a time.

uvloop passes all data that has arrived to OpenSSL, up to 256 KiB at a time. If each record contains one byte, this
takes 100 ms. `TLSConnection` therefore stands between the TCP transport and uvloop's `SSLProtocol`. It passes only
complete records on, in turns. While it waits, it reads no more data.

`SSLProtocol` is a private class of uvloop; see docs/architecture.md.
"""

import asyncio
import ssl
from collections.abc import Callable
from socket import socket
from typing import Any, cast

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # the stub of uvloop lacks private classes

from graphql_api.graphql_server.server.tls.records import RecordTurns, end_of_records
from graphql_api.graphql_server.tcp_state import has_unread_end

_MAX_UNSENT_BYTES = 16 * 1024
"""Encrypted data that the kernel does not take. `SSLProtocol` keeps further data, for which its own limit applies."""


async def open_with_tls(
    create_protocol: Callable[[], asyncio.Protocol],
    connection: socket,
    context: ssl.SSLContext,
    turns: RecordTurns,
    *,
    address: str,
    handshake_seconds: float,
) -> None:
    """Complete the handshake of an accepted connection. Raises `OSError` if this fails or takes too long.

    `address` is the name with which the connection takes turns.
    """
    loop = asyncio.get_running_loop()
    handshake = loop.create_future()
    tls = SSLProtocol(
        loop, create_protocol(), context, handshake, server_side=True, ssl_handshake_timeout=handshake_seconds
    )
    transport = tls._get_app_transport()
    # Otherwise, `SSLProtocol` would collect 256 KiB while the application does not read, and decrypt them at once.
    transport.set_read_buffer_limits(high=1, low=0)
    try:
        await loop.connect_accepted_socket(lambda: TLSConnection(tls, turns, address), connection)
        await handshake
    except BaseException:
        handshake.cancel()
        transport.close()
        raise


class TLSConnection(asyncio.BufferedProtocol):
    """The protocol of the TCP transport. For `SSLProtocol`, it is the transport."""

    _transport: asyncio.Transport

    def __init__(self, tls: Any, turns: RecordTurns, address: str) -> None:
        self._tls = tls
        self._turns = turns
        self._address = address
        self._held = b""
        """Received data that is not passed on: complete records that wait, and an incomplete one."""
        self._encrypted = tls.get_buffer(0)
        """The memory from which `SSLProtocol` reads."""
        self._is_waiting = False
        self._is_paused = False
        """Whether the application does not read."""
        self._has_stopped = False
        """Whether the TCP transport does not read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_MAX_UNSENT_BYTES)
        self._tls.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._held = b""
        self._tls.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return cast(bool | None, self._tls.eof_received())

    def pause_writing(self) -> None:
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        self._tls.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._turns.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        received = self._turns.received(nbytes)
        self._decrypt(memoryview(self._held + received) if self._held else received)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def close(self) -> None:
        self._transport.close()

    def _force_close(self, exc: BaseException | None) -> None:
        self._transport._force_close(exc)  # type: ignore[attr-defined]  # private, as `SSLProtocol`

    def pause_reading(self) -> None:
        """Pass no more records on, because the application does not read."""
        self._is_paused = self._has_stopped = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Pass records on again."""
        self._is_paused = False
        if not self._held:
            self._has_stopped = False
            self._transport.resume_reading()
        elif not self._is_waiting:
            self._wait()

    def _decrypt(self, data: memoryview, *, has_turn: bool = False) -> None:
        """Pass on as many records as the turns allow, and hold the rest. With `has_turn`, start without waiting."""
        self._held, start, size = b"", 0, len(data)
        while start < size and not self._is_paused:
            end, records = end_of_records(data, start)
            if not records:
                break
            if not has_turn and not self._turns.is_free:
                self._wait()
                break
            self._turns.use(records)
            self._encrypted[: end - start] = data[start:end]
            self._tls.buffer_updated(end - start)
            start, has_turn = end, False
        if start < size and not self._transport.is_closing():
            self._held = bytes(data[start:])
        if self._is_waiting or self._is_paused:
            self._has_stopped = True
            self._transport.pause_reading()
        elif self._has_stopped:
            self._has_stopped = False
            self._transport.resume_reading()

    def _wait(self) -> None:
        self._is_waiting = True
        self._turns.wait(self._address, self._decrypt_in_turn)

    def _decrypt_in_turn(self) -> None:
        self._is_waiting = False
        if has_unread_end(self._transport):
            self._transport.abort()
        else:
            self._decrypt(memoryview(self._held), has_turn=True)
