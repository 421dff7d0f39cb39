"""The header Upgrade: only WebSockets are accepted, and a proxy and the server agree on the end of each request."""

import pytest

from tests.graphql_api.graphql_server.server.raw_http import HEAD, WHOLE, connection, receive_all, received_at_once
from tests.graphql_api.graphql_server.service import running
from tests.stack import eventually

UPGRADE = b"connection: upgrade\r\nupgrade: "
PROTOCOLS = (b"foo", b"TLS/1.2, foo", b"H2C", b"h2c, foo", b"websocket, foo", b"websocket")


@pytest.mark.parametrize("is_split", [False, True])
def test_a_body_is_never_a_second_request(is_split: bool) -> None:
    """The parser reads what follows the header Upgrade as the next request. A proxy sends it as a body."""
    heads = {
        protocol: HEAD + UPGRADE + protocol + b"\r\ncontent-length: %d\r\n\r\n" % len(WHOLE) for protocol in PROTOCOLS
    }

    with running() as service:
        if is_split:
            received = received_at_once(service, heads, later=WHOLE)
        else:
            received = received_at_once(service, {protocol: head + WHOLE for protocol, head in heads.items()})

    assert {name: response.count(b"HTTP/1.1 ") for name, response in received.items()} == dict.fromkeys(PROTOCOLS, 1)
    assert [name for name, response in received.items() if not response.startswith(b"HTTP/1.1 400 ")] == []


@pytest.mark.parametrize(
    "start",
    [
        b"POST /graphql HTTP/1.1\r\nproxy-connection: upgrade\r\nupgrade: foo\r\n",
        b"POST /graphql HTTP/1.1\r\nconnection: close\r\nproxy-connection: a, upgrade\r\nupgrade: websocket\r\n",
        b"CONNECT / HTTP/1.1\r\n",
        b"CONNECT / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_parser_and_a_proxy_agree_on_requests_without_a_body(start: bytes, is_chunked: bool) -> None:
    """The parser ignores the body of a request to CONNECT, and treats `Proxy-Connection` like `Connection`."""
    length = b"transfer-encoding: chunked" if is_chunked else b"content-length: %d" % len(WHOLE)
    with running() as service, connection(service) as client:
        client.sendall(start + b"host: x\r\n" + length + b"\r\n\r\n" + WHOLE)
        received = receive_all(client)

    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "headers", [b"", b"sec-websocket-key: x\r\n", b"sec-websocket-version: 1\r\nsec-websocket-key: x\r\n"]
)
def test_a_refused_handshake_leaves_nothing(headers: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The connection is closed, its memory is freed, and no error is logged."""
    head = b"GET /graphql HTTP/1.1\r\nhost: x\r\n" + UPGRADE + b"websocket\r\n" + headers + b"\r\n"
    with running() as service:
        for _ in range(3):
            with connection(service) as client:
                client.sendall(head)
                assert receive_all(client).startswith(b"HTTP/1.1 4")
        eventually(lambda: not service.server.server_state.connections)

    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_a_handshake_with_a_long_list_is_refused() -> None:
    """Each item takes microseconds, and clients without a credential can send thousands of them."""
    handshake = b"GET /graphql HTTP/1.1\r\nhost: x\r\nsec-websocket-version: 13\r\nsec-websocket-key: %b\r\n" % (
        b"AAAAAAAAAAAAAAAAAAAAAA=="
    )
    names = (b"connection", b"sec-websocket-protocol")
    requests = {
        name: handshake + UPGRADE + b"websocket\r\n" + b"%b: %b\r\n" % (name, b"a, " * 300 + b"a") * 2 + b"\r\n"
        for name in names
    }

    with running() as service:
        received = received_at_once(service, requests)

    message = b"expected at most 1,024 bytes in the headers Connection and Sec-WebSocket-Protocol"
    assert [name for name, response in received.items() if not response.startswith(b"HTTP/1.1 400 ")] == []
    assert [name for name, response in received.items() if message not in response] == []
