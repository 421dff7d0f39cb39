"""TLS handshakes of new connections, which take turns."""

import asyncio
import contextlib
import select
import ssl
import sys
from itertools import chain
from pathlib import Path
from socket import create_connection, create_server

import pytest
import uvloop

from graphql_api.certificate import Certificate
from graphql_api.graphql_server.server.acceptor import Acceptor
from tests.certificates import certificate


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has several loopback addresses")
def test_a_turn_starts_one_tls_handshake_and_addresses_take_turns(tmp_path: Path) -> None:
    """A handshake takes up to a millisecond. Clients can send their first data at the same time."""
    own = Certificate(*certificate(tmp_path).values())
    listening = create_server(("127.0.0.1", 0), backlog=400)
    clients = [create_connection(listening.getsockname()) for _ in range(60)]
    clients.append(create_connection(listening.getsockname(), source_address=("127.0.0.2", 0)))
    numbers = {client.fileno(): number for number, client in enumerate(clients)}
    answered: list[list[int]] = []

    async def accept() -> None:
        acceptor = Acceptor(listening, asyncio.Protocol, backlog=400, certificate=own)
        for _ in range(1_000):  # accept all connections
            await asyncio.sleep(0)
        poll = select.poll()
        for client in clients:
            client.sendall(_client_hello())
            poll.register(client, select.POLLIN)
        async with asyncio.timeout(60):
            while numbers.keys() - set(chain.from_iterable(answered)):
                answered.append([file for file, _ in poll.poll(0)])
                for file in answered[-1]:
                    poll.unregister(file)
                await asyncio.sleep(0)
        acceptor.close()

    uvloop.run(accept())
    order = [numbers[file] for file in chain.from_iterable(answered)]
    assert max(map(len, answered)) == 1
    assert order.index(60) <= 3
    for client in clients:
        client.close()


def _client_hello() -> bytes:
    """Return the first data that a client of TLS sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname="127.0.0.1").do_handshake()
    return sent.read()
