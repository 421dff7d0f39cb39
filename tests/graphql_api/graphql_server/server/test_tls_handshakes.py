"""TLS handshakes of new connections, which take turns."""

import asyncio
import contextlib
import select
import ssl
import sys
import time
from itertools import chain
from pathlib import Path
from socket import create_connection, create_server, socket

import pytest
import uvloop

from graphql_api.configuration.certificate import Certificate
from graphql_api.graphql_server.server import acceptor
from tests.certificates import certificate


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has several loopback addresses")
def test_an_iteration_starts_one_tls_handshake_and_addresses_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handshake takes up to a millisecond. Clients can send their first data at the same time."""
    monkeypatch.setattr(acceptor, "_MIN_CONNECTIONS_PER_SECOND", 0)  # other processes can make an iteration long

    iterations = handshakes(tmp_path, ["127.0.0.1"] * 60 + ["127.0.0.2"])

    assert max(map(len, iterations)) == 1
    assert list(chain.from_iterable(iterations)).index(60) <= 3


def test_more_tls_handshakes_start_after_a_long_iteration(tmp_path: Path) -> None:
    """Otherwise, clients of a busy server would wait until their handshakes are ended."""
    iterations = handshakes(tmp_path, ["127.0.0.1"] * 60, other_work_seconds=0.02)

    assert len([each for each in iterations if each]) <= 20


FEW_ADDRESSES, MANY_ADDRESSES = ["127.0.0.1"] * 200, [f"127.0.1.{number}" for number in range(1, 41)] * 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has several loopback addresses")
@pytest.mark.parametrize("others", [FEW_ADDRESSES, MANY_ADDRESSES])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_limited_number_of_connections_waits_for_a_handshake(
    others: list[str], is_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, others could use up all files of the process. The only connection of an address is not closed."""
    monkeypatch.setattr(acceptor, "_MIN_CONNECTIONS_PER_SECOND", 0)
    monkeypatch.setattr(acceptor, "_MAX_WAITING_HANDSHAKES", 70)
    closed: set[int] = set()

    iterations = handshakes(tmp_path, ["127.0.0.2", *others] if is_first else [*others, "127.0.0.2"], closed=closed)

    assert len(list(chain.from_iterable(iterations))) == 201
    assert (0 if is_first else 200) not in closed
    assert 100 < len(closed) <= 201 - 70


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has several loopback addresses")
def test_silent_clients_do_not_end_the_handshake_of_another_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client can need seconds for a handshake, on a slow network. It has the oldest connection."""
    monkeypatch.setattr(acceptor, "_MAX_HANDSHAKES", 5)
    monkeypatch.setattr(acceptor, "_HANDSHAKE_SECONDS", 60)
    own = Certificate(*certificate(tmp_path).values())
    listening = create_server(("127.0.0.1", 0), backlog=400)
    address = listening.getsockname()
    slow, *silent = [create_connection(address, source_address=(f"127.0.0.{2 - bool(n)}", 0)) for n in range(20)]

    async def accept() -> None:
        accepting = acceptor.Acceptor(listening, asyncio.Protocol, backlog=400, max_waiting=400, certificate=own)
        async with asyncio.timeout(30):
            for client in silent[:-4]:
                assert await asyncio.to_thread(client.recv, 1) == b""
            slow.sendall(_client_hello())
            assert await asyncio.to_thread(slow.recv, 1) != b""
        accepting.close()

    uvloop.run(accept())
    for client in (slow, *silent):
        client.close()


def handshakes(
    folder: Path, addresses: list[str], other_work_seconds: float = 0.0, closed: set[int] | None = None
) -> list[list[int]]:
    """Send the first data of a client for each address at the same time.

    Return the numbers of the clients that get a response in each iteration of the event loop. Add the numbers of those
    whose connection is closed without a response to `closed`.
    """
    own = Certificate(*certificate(folder).values())
    listening = create_server(("127.0.0.1", 0), backlog=400)
    clients = [create_connection(listening.getsockname(), source_address=(address, 0)) for address in addresses]
    numbers = {client.fileno(): number for number, client in enumerate(clients)}
    answered: list[list[int]] = []

    async def accept() -> None:
        accepting = acceptor.Acceptor(listening, asyncio.Protocol, backlog=400, max_waiting=400, certificate=own)
        for _ in range(1_000):  # accept all connections
            await asyncio.sleep(0)
        poll = select.poll()
        for client in clients:
            client.sendall(_client_hello())
            poll.register(client, select.POLLIN)
        async with asyncio.timeout(60):
            while sum(map(len, answered)) < len(clients):
                answered.append([file for file, _ in poll.poll(0)])
                for file in answered[-1]:
                    poll.unregister(file)
                _work(other_work_seconds)
                await asyncio.sleep(0)
        accepting.close()

    uvloop.run(accept())
    for number, client in enumerate(clients):
        if closed is not None and not _has_response(client):
            closed.add(number)
        client.close()
    return [[numbers[file] for file in each] for each in answered]


def _has_response(client: socket) -> bool:
    try:
        return bool(client.recv(1))
    except ConnectionError:
        return False


def _work(seconds: float) -> None:
    """Occupy the event loop, as other work does."""
    time.sleep(seconds)


def _client_hello() -> bytes:
    """Return the first data that a client of TLS sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname="127.0.0.1").do_handshake()
    return sent.read()
