"""TLS of clients without a key: handshakes, data that is not a handshake, and responses that are not read."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

from tests.attack.attacks.connections import request_of_largest_file
from tests.attack.registry import add
from tests.attack.target import Target, repeat

_HANDSHAKE_RECORD = b"\x16\x03\x01"
_MAX_RECORD_BYTES = 2**14


def _context() -> ssl.SSLContext:
    """Return the settings of a client that accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _client_hello() -> bytes:
    """Return the first data that a client sends."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        _context().wrap_bio(received, sent).do_handshake()
    return sent.read()


async def handshakes_in_bursts(number: int, target: Target) -> None:
    """Open connections, send the first data of a handshake over all at once, and disconnect after the response."""
    hello = _client_hello()
    ends_at = asyncio.get_running_loop().time() + target.seconds
    while asyncio.get_running_loop().time() < ends_at:
        async with AsyncExitStack() as opened:
            connections = [await opened.enter_async_context(target.connection()) for _ in range(number)]
            for _, writer in connections:
                writer.write(hello)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(10):
                    await asyncio.gather(*(reader.read(1) for reader, _ in connections))


async def complete_handshakes(target: Target) -> None:
    """Complete handshakes over 64 connections, and disconnect."""
    context = _context()

    async def act() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", target.api_port, ssl=context)
        writer.transport.abort()

    await repeat(target, 64, act)


async def incomplete_handshakes(connections: int, data: bytes, target: Target) -> None:
    """Send data that is not a whole handshake over many connections, and wait until the server closes them."""

    async def act() -> None:
        async with target.connection() as (reader, writer):
            writer.write(data)
            await reader.read()

    await repeat(target, connections, act)


async def _handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    """Complete a handshake. Return what encrypts, and the encrypted data. Raises `ConnectionError`."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _context().wrap_bio(received, sent)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            writer.write(sent.read())
            if not (data := await reader.read(2**16)):
                raise ConnectionResetError from None
            received.write(data)
        else:
            return tls, sent


async def records_of_one_byte(connections: int, records: int, target: Target) -> None:
    """Send the start of a body over many connections at the same time. Each TLS record contains one byte."""
    head = target.head("/samples", f"content-length: {10 * records}", key=False)
    ends_at = asyncio.get_running_loop().time() + target.seconds
    while asyncio.get_running_loop().time() < ends_at:
        async with AsyncExitStack() as opened:
            prepared = []
            for _ in range(connections):
                streams = await opened.enter_async_context(target.connection())
                tls, encrypted = await _handshake(*streams)
                for byte in head + b" " * records:
                    tls.write(bytes([byte]))
                prepared.append((streams, encrypted.read()))
            for (_, writer), data in prepared:
                writer.write(data)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(3):
                    await asyncio.gather(*(reader.read(2**16) for (reader, _), _ in prepared))


async def requests_unread(connections: int, request: Callable[[Target], bytes], target: Target) -> None:
    """Send a request over each of many connections with small receive buffers. Read nothing, and close nothing."""
    head = request(target)
    async with AsyncExitStack() as opened:
        for _ in range(connections):
            with contextlib.suppress(ConnectionError):
                reader, writer = await opened.enter_async_context(target.connection())
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                tls, encrypted = await _handshake(reader, writer)
                cast(asyncio.Transport, writer.transport).pause_reading()
                tls.write(head)
                writer.write(encrypted.read())
        await asyncio.sleep(target.seconds)


def request_of_health(target: Target) -> bytes:
    """Return a request of a health check."""
    return target.head("/healthz", method="GET", key=False)


def request_with_refused_body(target: Target) -> bytes:
    """Return a request with a body of 200 KB, which the server discards after its response."""
    return target.head("/session", "content-length: 200000", key=False) + bytes(200_000)


_FULL_RECORD = _HANDSHAKE_RECORD + _MAX_RECORD_BYTES.to_bytes(2, "big")
"""The start of a record of the maximum length."""

_GARBAGE = {
    "random_data": os.urandom(2**16),
    "records_of_random_data": (_FULL_RECORD + os.urandom(_MAX_RECORD_BYTES)) * 4,
    "hello_of_16_mib": (_FULL_RECORD + b"\x01\xff\xff\xff" + bytes(_MAX_RECORD_BYTES - 4)) * 64,
    "requests_without_tls": b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
}

add("tls_handshakes_in_bursts", partial(handshakes_in_bursts, 400), has_tls=True, is_short=True)
add("tls_handshakes_in_bursts_of_4000", partial(handshakes_in_bursts, 4_000), has_tls=True)
add("tls_handshakes_completed", complete_handshakes, has_tls=True)
for _name, _first in {"silent": b"", "half_a_record": _FULL_RECORD + bytes(100)}.items():
    add(f"tls_handshakes_{_name}", partial(incomplete_handshakes, 2_000, _first), has_tls=True)
for _name, _data in _GARBAGE.items():
    _is_short = _name == "records_of_random_data"
    add(f"tls_{_name}", partial(incomplete_handshakes, 64, _data), has_tls=True, is_short=_is_short)
add("tls_records_of_one_byte", partial(records_of_one_byte, 30, 10_000), has_tls=True, is_short=True)
add("tls_records_of_one_byte_of_1000_clients", partial(records_of_one_byte, 1_000, 500), has_tls=True)
add("tls_files_of_1000_clients_unread", partial(requests_unread, 1_000, request_of_largest_file), has_tls=True)
add("tls_idle_connections_after_health_check", partial(requests_unread, 4_100, request_of_health), has_tls=True)
add("tls_idle_connections_after_refused_body", partial(requests_unread, 2_400, request_with_refused_body), has_tls=True)
