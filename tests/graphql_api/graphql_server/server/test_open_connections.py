"""Limits on the number of connections, and which connections make room for others."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from graphql_api.budgets import request_turns
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.certificate import Certificate
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server import Server
from graphql_api.graphql_server.server.open_connections import OpenConnection, OpenConnections
from storage.documents.errors import Unavailable
from tests.certificates import certificate
from tests.graphql_api.graphql_server import clients
from tests.graphql_api.graphql_server.server.raw_http import BODY, HEAD, WHOLE, connection, receive_all, status_of
from tests.graphql_api.graphql_server.service import KEY, OTHER_KEY, UNLIMITED_MIB, running, serving
from tests.stack import PATIENCE_SECONDS, eventually


@pytest.mark.parametrize(
    "beginning", [b"", b"GET /", WHOLE, b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"]
)
@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
def test_the_connection_that_is_idle_for_the_longest_time_makes_room(limit: str, beginning: bytes) -> None:
    """A client that opens connections and does not use them shuts out no client, not even itself."""
    with running(limits=replace(Limits(), **{limit: 50})) as service, contextlib.ExitStack() as opened:
        idle = [opened.enter_context(connection(service)) for _ in range(120)]
        for client in idle:
            with contextlib.suppress(OSError):
                client.sendall(beginning)

        # While all connections have a request in progress, a new one is refused.
        eventually(lambda: _is_served(opened.enter_context(connection(service))))
        assert service.post("{ hello }").status_code == 200
        for _ in range(50):  # other connections can have been idle for longer, because they got their responses earlier
            _is_served(opened.enter_context(connection(service)))
        receive_all(idle[0])  # returns because the server has closed this connection


def _is_served(client: socket.socket) -> bool:
    try:
        client.sendall(WHOLE)
        return client.recv(65536).startswith(b"HTTP/1.1 200 ")
    except ConnectionError:  # it made room before its request arrived
        return False


def _admit(connections: OpenConnections, address: str, closed: list[str], submitter: str = "") -> OpenConnection:
    connection = connections.admit(address, lambda: closed.append(submitter or address))
    if submitter:
        connection.set_submitter(submitter)
    return connection


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
def test_a_client_with_few_connections_keeps_them(limit: str) -> None:
    """Of the connections that are idle for the longest time, one of the client with the most connections makes room."""
    connections = OpenConnections(Budgets(replace(Limits(max_memory_mib=UNLIMITED_MIB), **{limit: 20})))
    closed: list[str] = []
    for submitter in ["few", "few", *["many"] * 18, *["many"] * 5, "new"]:
        _admit(connections, "192.0.2.1", closed, submitter)

    assert closed == ["many"] * 6
    assert connections.count == 20


def test_the_credential_of_a_request_identifies_the_client_of_its_connection() -> None:
    """Another submitter at the same address cannot end an idle connection by opening many."""
    with running(limits=Limits(max_connections_per_address=20)) as service, contextlib.ExitStack() as opened:
        kept = opened.enter_context(connection(service))
        kept.sendall(WHOLE.replace(KEY.encode(), OTHER_KEY.encode()))
        assert status_of(kept) == 200
        for _ in range(40):
            assert _is_served(opened.enter_context(connection(service)))

        kept.sendall(WHOLE.replace(KEY.encode(), OTHER_KEY.encode()))
        assert status_of(kept) == 200


def test_addresses_are_different_clients() -> None:
    """Without a credential, the address is all that is known."""
    connections = OpenConnections(Budgets(Limits(max_connections=20, max_memory_mib=UNLIMITED_MIB)))
    closed: list[str] = []
    for address in ["192.0.2.1", *["192.0.2.2"] * 19, "192.0.2.3"]:
        _admit(connections, address, closed)

    assert closed == ["192.0.2.2"]


async def test_requests_that_only_wait_do_not_use_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """One twentieth of the connections stay free or idle. The submitter with the most waiting requests loses some."""
    monkeypatch.setattr(request_turns, "MAX_START_SECONDS", 0)
    budgets = Budgets(Limits(max_connections=200, max_connections_per_address=200, max_memory_mib=UNLIMITED_MIB))
    connections = OpenConnections(budgets)
    opened = [_admit(connections, "192.0.2.1", []) for _ in range(199)]
    requests = [
        asyncio.create_task(budgets.request_turns.start(partial(str, name), lambda: False))
        for name in ["few"] * 50 + ["many"] * 149
    ]
    await asyncio.sleep(0)

    for each in opened[:190]:
        each.set_busy()
    refused_before = [request for request in requests if request.done() and request.exception()]
    for each in opened[190:] * 2:
        each.set_busy()
    outcomes = await asyncio.gather(*requests, return_exceptions=True)

    assert not refused_before
    assert [number for number, outcome in enumerate(outcomes) if outcome is not True] == list(range(50, 59))
    assert all(isinstance(outcome, Unavailable) and outcome.limit == "max_connections" for outcome in outcomes[50:59])


async def one_byte(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with one byte."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"a"})


def test_a_client_with_tls_that_makes_room_need_not_agree(tmp_path: Path) -> None:
    """The end of a TLS connection is two messages, of which the client sends the second one. It can wait for 30 s."""
    files = certificate(tmp_path).values()
    server = Server(one_byte, Budgets(Limits(max_connections_per_address=2)), certificate=Certificate(*files))
    context = ssl.create_default_context(cafile=next(iter(files)))
    with serving(server) as (port, _), contextlib.ExitStack() as opened:
        for _ in range(5):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS))
            encrypted = opened.enter_context(context.wrap_socket(client, server_hostname="127.0.0.1"))
            encrypted.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert encrypted.recv(65536).startswith(b"HTTP/1.1 200 ")

        assert len(server.server_state.connections) == 2


def test_a_body_that_does_not_arrive_makes_room() -> None:
    """Otherwise, clients could use all connections without sending anything. A body that arrives slowly comes later."""
    head = HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY)
    with running(limits=Limits(max_connections_per_address=3)) as service, contextlib.ExitStack() as opened:
        slow, silent, quick = (opened.enter_context(connection(service)) for _ in range(3))
        for client in (slow, silent):
            client.sendall(head)
            assert client.recv(65536).startswith(b"HTTP/1.1 100 ")
        slow.sendall(BODY[:5])
        assert _is_served(quick)  # the server has received the data before this request

        assert _is_served(opened.enter_context(connection(service)))
        assert receive_all(silent) == b""
        slow.sendall(BODY[5:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")


class Late:
    """An ASGI application that reads a body only when the test lets it."""

    def __init__(self) -> None:
        self.has_begun, self.may_read = threading.Event(), threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then read a body that arrives in one piece, and respond."""
        self.has_begun.set()
        await asyncio.to_thread(self.may_read.wait)
        await receive()
        await PlainTextResponse("read")(scope, receive, send)


def test_a_client_that_waits_for_100_continue_does_not_make_room() -> None:
    """It may send its body only when the application wants it, so the server does not wait for the client."""
    late = Late()
    app = Starlette(routes=[Route("/late", late), Route("/", lambda _: PlainTextResponse("served"))])
    server = Server(app, Budgets(Limits(max_connections_per_address=2)))
    with serving(server) as (port, _), contextlib.ExitStack() as opened:

        def connect() -> socket.socket:
            return opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS))

        waiting = connect()
        waiting.sendall(b"POST /late HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n")
        assert late.has_begun.wait(PATIENCE_SECONDS)
        idle, new = connect(), connect()
        new.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert new.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert receive_all(idle) == b""

        late.may_read.set()
        assert waiting.recv(65536).startswith(b"HTTP/1.1 100 ")
        waiting.sendall(b"x")
        assert waiting.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_read_its_response_makes_room_after_it_has_sent_its_body() -> None:
    """Otherwise, clients could use all connections until the stall timer ends their responses."""
    head = b"POST /duplex HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n"
    with running(limits=Limits(max_connections_per_address=2)) as service, contextlib.ExitStack() as opened:
        stuck = [opened.enter_context(connection(service)) for _ in range(2)]
        for client in stuck:
            client.sendall(head)
            received = 0
            while received < 65536:  # the body of the response is larger than all buffers
                received += len(client.recv(65536))
            client.sendall(b"{")

        for _ in range(2):
            assert _is_served(opened.enter_context(connection(service)))


def test_connections_are_refused_if_all_others_are_busy() -> None:
    """The response names the limit. Responses in progress are not ended for a new connection."""
    with running(limits=Limits(max_connections_per_address=3)) as service, contextlib.ExitStack() as opened:
        streams = [
            opened.enter_context(clients.subscribed(service, "subscription { count(to: 9, pause: 60) }"))
            for _ in range(3)
        ]
        for stream in streams:
            next(stream)
        received = receive_all(opened.enter_context(connection(service)))

    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1" in head
    assert json.loads(body)["errors"][0]["extensions"] == {
        "code": "RATE_LIMITED",
        "limit": "max_connections_per_address",
        "retryAfter": 1,
    }


def test_one_submitter_cannot_use_all_connections() -> None:
    """Open streams and WebSockets count. Other submitters still have connections."""
    with running(limits=Limits(max_connections_per_submitter=2)) as service, contextlib.ExitStack() as opened:
        opened.enter_context(clients.initialized(service))
        with clients.subscribed(service, "subscription { count(to: 9, pause: 60) }") as stream:
            next(stream)
            refused = service.post("{ hello }")
            with clients.socket(service) as websocket:
                clients.send(websocket, clients.INIT)
                reason = "RATE_LIMITED: the limit max_connections_per_submitter is reached; retry after 1 s"
                assert clients.closed(websocket) == (1013, reason)
            assert service.post("{ hello }", **{"x-api-key": OTHER_KEY}).status_code == 200

        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["errors"][0]["extensions"]["limit"] == "max_connections_per_submitter"
        eventually(lambda: service.post("{ hello }").status_code == 200)


def test_a_websocket_is_idle_until_its_client_has_authenticated_itself() -> None:
    """A WebSocket without a subscription is not closed for another connection."""
    with running(limits=Limits(max_connections_per_address=2)) as service, clients.initialized(service) as trusted:
        with clients.socket(service) as untrusted, connection(service) as client:
            client.sendall(WHOLE)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert clients.closed(untrusted)[0] == 1013
        clients.send(trusted, {"type": "ping"})
        assert clients.receive(trusted)["type"] == "pong"


def test_a_websocket_that_has_ended_without_authentication_does_not_count() -> None:
    """Its client has disconnected, so no other WebSocket has to make room."""
    limits = Limits(max_unauthenticated_websockets_per_address=2)
    with running(limits=limits) as service, clients.socket(service) as websocket:
        for _ in range(5):
            with clients.socket(service):
                pass
        clients.send(websocket, clients.INIT)
        assert clients.receive(websocket) == clients.ACK


def test_the_oldest_websocket_without_authentication_makes_room() -> None:
    """A client without a key could otherwise use much memory. WebSockets that are initialized do not count."""
    limits = Limits(max_unauthenticated_websockets_per_address=2)
    with running(limits=limits) as service, clients.initialized(service) as trusted, contextlib.ExitStack() as opened:
        first, second, third = (opened.enter_context(clients.socket(service)) for _ in range(3))

        assert clients.closed(first)[0] == 1013
        for untrusted in (second, third):
            clients.send(untrusted, clients.INIT)
            assert clients.receive(untrusted) == clients.ACK
        for _ in range(2):
            opened.enter_context(clients.socket(service))
        for websocket in (trusted, second, third):
            clients.send(websocket, {"type": "ping"})
            assert clients.receive(websocket)["type"] == "pong"
