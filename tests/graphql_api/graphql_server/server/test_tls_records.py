"""TLS records that clients send: each iteration of the event loop decrypts a limited number of them."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from socket import create_server
from typing import cast

import pytest
import uvloop

from graphql_api.configuration.certificate import Certificate
from graphql_api.graphql_server.server.acceptor import Acceptor
from graphql_api.graphql_server.server.tls.records import (
    MAX_RECORDS_PER_ITERATION,
    MAX_RECORDS_PER_TURN,
    end_of_records,
)
from tests.certificates import certificate
from tests.stack import PATIENCE_SECONDS

_RECORD = b"\x17\x03\x03\x00\x02ab"
_MAX_RECORDS = 2 * (MAX_RECORDS_PER_ITERATION + MAX_RECORDS_PER_TURN)
"""In an iteration, the connections that wait have a turn, and then others."""


class Received(asyncio.Protocol):
    """What one connection has received. It stops reading whenever it has received some data, until `resume`."""

    def __init__(self, *, pauses: bool) -> None:
        self.data = b""
        self._pauses = pauses
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.data += data
        if self._pauses:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0, self.transport.resume_reading)


class Client:
    """A client that encrypts data in records of a given size, and sends them later."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    async def shake_hands(self) -> None:
        """Complete the handshake."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send()
                self._incoming.write(await self._reader.read(2**16))
            else:
                return

    def encrypt(self, data: bytes, record_bytes: int) -> None:
        """Encrypt data."""
        for start in range(0, len(data), record_bytes):
            self._tls.write(data[start : start + record_bytes])

    def send(self) -> None:
        """Send what is encrypted."""
        self._writer.write(self._outgoing.read())

    def disconnect(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()


@asynccontextmanager
async def connected(
    folder: Path, sources: list[str], *, pauses: bool = False
) -> AsyncIterator[tuple[list[Client], list[Received]]]:
    """Yield a client for each source address, and the other ends of their connections, in the same order."""
    listening = create_server(("127.0.0.1", 0), backlog=400)
    servers: list[Received] = []

    def create_protocol() -> Received:
        servers.append(Received(pauses=pauses))
        return servers[-1]

    own = Certificate(*certificate(folder).values())
    accepting = Acceptor(listening, create_protocol, backlog=400, max_waiting=400, certificate=own)
    host, port = listening.getsockname()
    clients: list[Client] = []
    for source in sources:
        clients.append(Client(*await asyncio.open_connection(host, port, local_addr=(source, 0))))
        await clients[-1].shake_hands()
    yield clients, servers
    for client in clients:
        client.disconnect()
    accepting.close()


async def received_per_iteration(servers: list[Received], size: int) -> list[list[int]]:
    """Wait until each server has received `size` bytes. Return how many it has received after each iteration."""
    counts: list[list[int]] = [[0] * len(servers)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while min(counts[-1]) < size:
            await asyncio.sleep(0)
            counts.append([len(each.data) for each in servers])
    return counts


def test_an_iteration_decrypts_a_limited_number_of_records(tmp_path: Path) -> None:
    """A record takes about as long as the decryption of 16 KiB, even if it contains one byte."""

    async def check() -> None:
        async with connected(tmp_path, ["127.0.0.1"] * 5) as (clients, servers):
            for client in clients:
                client.encrypt(bytes(3_000), 1)
            for client in clients:
                client.send()
            counts = await received_per_iteration(servers, 3_000)
        totals = [sum(each) for each in counts]
        assert max(later - earlier for earlier, later in pairwise(totals)) <= _MAX_RECORDS

    uvloop.run(check())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has several loopback addresses")
def test_a_request_of_another_address_does_not_wait_for_all_records(tmp_path: Path) -> None:
    """Connections with many records take turns with others."""

    async def check() -> None:
        async with connected(tmp_path, ["127.0.0.1"] * 5 + ["127.0.0.2"]) as (clients, servers):
            for client in clients[:5]:
                client.encrypt(bytes(3_000), 1)
                client.send()
            await received_per_iteration(servers[:5], 1)
            clients[5].encrypt(b"request", 7)
            clients[5].send()
            await received_per_iteration(servers[5:], 7)
            assert sum(len(each.data) for each in servers[:5]) < 5 * 3_000

    uvloop.run(check())


@pytest.mark.parametrize("record_bytes", [1, 1_000, 2**14])
def test_an_application_that_stops_reading_receives_all_data_later(tmp_path: Path, record_bytes: int) -> None:
    """Records that wait meanwhile are decrypted a few at a time, too."""
    data = bytes(range(256)) * (100 if record_bytes == 1 else 4_000)

    async def check() -> None:
        async with connected(tmp_path, ["127.0.0.1"], pauses=True) as ((client,), (server,)):
            client.encrypt(data, record_bytes)
            client.send()
            counts = await received_per_iteration([server], len(data))
        assert server.data == data
        sizes = [later[0] - earlier[0] for earlier, later in pairwise(counts)]
        assert max(sizes) <= 2 * MAX_RECORDS_PER_TURN * record_bytes

    uvloop.run(check())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (0, 0)),
        (_RECORD[:4], (0, 0)),
        (_RECORD[:6], (0, 0)),
        (_RECORD, (7, 1)),
        (_RECORD * 2 + _RECORD[:3], (14, 2)),
        (_RECORD * (MAX_RECORDS_PER_TURN + 1), (7 * MAX_RECORDS_PER_TURN, MAX_RECORDS_PER_TURN)),
        (_RECORD + b"GET / HTTP/1.1", (21, 2)),
        (b"\x17\x03\x03\xff\xff", (5, 1)),
    ],
)
def test_only_complete_records_are_decrypted(data: bytes, expected: tuple[int, int]) -> None:
    """OpenSSL gets data that is not a record at once, and ends the connection."""
    assert end_of_records(memoryview(data), 0) == expected
