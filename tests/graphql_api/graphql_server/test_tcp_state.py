"""The end of a connection is known before the connection is read."""

import asyncio
import gzip
import struct
import sys
from collections.abc import Callable
from socket import SHUT_WR, SO_LINGER, SOL_SOCKET, create_connection, create_server, socket

import pytest
import uvloop
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.graphql_server.requests.request_body import BodyStream, any_turn, read_body
from graphql_api.graphql_server.tcp_state import TRANSPORT, has_unread_end


def with_unread_connection(check: Callable[[asyncio.Transport, socket], None]) -> None:
    """Call `check` with a connection that has received data and is not being read, and with its client."""

    async def connect() -> None:
        with create_server(("127.0.0.1", 0)) as listening, create_connection(listening.getsockname()) as client:
            accepted, _ = listening.accept()
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, accepted)
            transport.pause_reading()
            client.sendall(b"data")
            check(transport, client)
            transport.abort()
            await asyncio.sleep(0)
            assert not has_unread_end(transport)  # the transport has closed its socket

    uvloop.run(connect())


def reset(client: socket) -> None:
    """Reset a connection."""
    client.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("end", [socket.close, reset, lambda client: client.shutdown(SHUT_WR)])
def test_the_end_of_an_unread_connection_is_known(end: Callable[[socket], None]) -> None:
    """The kernel has received it after the data. Other systems than Linux do not tell."""

    def check(transport: asyncio.Transport, client: socket) -> None:
        assert not has_unread_end(transport)
        end(client)
        assert has_unread_end(transport) == (sys.platform == "linux")

    with_unread_connection(check)


def test_a_connection_that_is_read_gets_its_end_from_the_event_loop() -> None:
    """The data before the end comes first."""

    def check(transport: asyncio.Transport, client: socket) -> None:
        transport.resume_reading()
        client.close()
        assert not has_unread_end(transport)

    with_unread_connection(check)


def body_of(transport: asyncio.Transport) -> BodyStream:
    """Return the body of a request over this transport."""
    request = Request({"type": "http", "headers": [], "state": {TRANSPORT: transport}})
    return BodyStream(request, any_turn(), MemoryBudget(0).new_reservation())


def test_a_body_knows_that_its_client_is_gone() -> None:
    """The body may have data that is not received yet."""

    def check(transport: asyncio.Transport, client: socket) -> None:
        body = body_of(transport)
        body.check_client()
        if sys.platform == "linux":
            client.close()
        else:
            transport.abort()
        with pytest.raises(ClientDisconnect):
            body.check_client()

    with_unread_connection(check)


def test_a_body_knows_that_its_connection_is_closed() -> None:
    """For example because the client does not read the response."""

    def check(transport: asyncio.Transport, client: socket) -> None:
        body = body_of(transport)
        transport.abort()
        with pytest.raises(ClientDisconnect):
            body.check_client()

    with_unread_connection(check)


async def test_a_body_is_not_decoded_for_a_client_that_is_gone() -> None:
    """A few megabytes of empty members take seconds. The work would be in vain."""

    async def receive() -> Message:
        return {"type": "http.request", "body": gzip.compress(b"[]"), "more_body": False}

    with create_server(("127.0.0.1", 0)) as listening, create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, accepted)
        headers = [(b"content-encoding", b"gzip")]
        request = Request({"type": "http", "headers": headers, "state": {TRANSPORT: transport}}, receive)
        assert await read_body(request, 100) == b"[]"

        transport.abort()

        with pytest.raises(ClientDisconnect):
            await read_body(request, 100)
