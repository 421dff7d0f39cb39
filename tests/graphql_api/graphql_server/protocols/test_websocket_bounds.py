"""The limits of one WebSocket: time, operations and bytes."""

import asyncio
import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable
from socket import create_connection

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server import GraphQLSettings, ServerSettings
from tests.graphql_api.graphql_server.clients import (
    ACK,
    INIT,
    closed,
    initialized,
    receive,
    send,
    socket,
    subscribe,
)
from tests.graphql_api.graphql_server.server.frame import frame
from tests.graphql_api.graphql_server.server.websocket.test_frames import CONTINUATION, TEXT
from tests.graphql_api.graphql_server.service import KEY, OTHER_KEY, running
from tests.stack import PATIENCE_SECONDS, eventually


def test_idle_websockets_are_closed() -> None:
    """Before and after initialization. A WebSocket with a running operation is not idle."""
    with running(GraphQLSettings(connection_init_seconds=0.2)) as service, socket(service) as connection:
        assert closed(connection)[0] == 4408
    messages = [INIT, subscribe("subscription { count(to: 2, pause: 0.8) }")]
    with running(GraphQLSettings(idle_websocket_seconds=0.3)) as service, socket(service) as connection:
        # In one segment, so that the WebSocket is not idle between the messages.
        connection.socket.sendall(b"".join(frame(TEXT, json.dumps(message).encode()) for message in messages))
        assert receive(connection) == ACK
        assert [receive(connection)["type"] for _ in range(3)] == ["next", "next", "complete"]
        assert closed(connection)[0] == 1001


def test_each_operation_takes_a_turn_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, the operations of 1,000 WebSockets would start in one iteration of the event loop."""
    with running() as service:
        turns, submitters = service.budgets.request_turns, list[str]()
        wait = turns.wait

        async def record(submitter: Callable[[], str]) -> None:
            submitters.append(submitter())
            await wait(submitter)

        for _ in range(2):
            service.post("{ hello }")  # the document is cached then; a request that reads it takes another turn
        monkeypatch.setattr(turns, "wait", record)
        with initialized(service) as connection:
            for operation in ("1", "2"):
                send(connection, subscribe("{ hello }", operation))
                assert [receive(connection)["type"] for _ in range(2)] == ["next", "complete"]

    assert submitters == [KEY, KEY]


def test_pings_do_not_extend_the_time_for_initialization() -> None:
    """The time limit covers all messages before connection_init."""
    with running(GraphQLSettings(connection_init_seconds=0.3)) as service, socket(service) as connection:
        with contextlib.suppress(ConnectionClosed):
            while True:
                send(connection, {"type": "ping"})
                receive(connection)
                time.sleep(0.05)
        assert closed(connection)[0] == 4408


def test_websockets_operations_and_messages_are_limited() -> None:
    """Beyond the limits, operations fail, messages close the WebSocket, and its submitter can open no other."""
    settings = GraphQLSettings(max_operations_per_websocket=2)
    limits = Limits(max_websockets_per_submitter=1)
    with running(settings, ServerSettings(max_message_bytes=10_000), limits) as service:
        with initialized(service) as connection:
            with socket(service) as refused:
                send(refused, INIT)
                reason = "RATE_LIMITED: the limit max_websockets_per_submitter is reached; retry after 1 s"
                assert closed(refused) == (1013, reason)
            with socket(service) as of_another_submitter:
                send(of_another_submitter, {"type": "connection_init", "payload": {"apiKey": OTHER_KEY}})
                assert receive(of_another_submitter) == ACK
            for operation_id in ("1", "2", "3"):
                send(connection, subscribe("subscription { count(to: 1, pause: 60) }", operation_id))
                message = receive(connection)
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "RATE_LIMITED")
            send(connection, subscribe("{ hello }" + " " * 10_000))
            assert closed(connection)[0] == 1009
        deadline = time.monotonic() + 30
        while True:  # the server may process the close a little later
            with socket(service) as connection:
                send(connection, INIT)
                with contextlib.suppress(ConnectionClosed):
                    receive(connection)
                    break
                assert time.monotonic() < deadline


def test_operations_beyond_the_limit_end_none_of_those_before_them() -> None:
    """Even if they arrive at the same time."""
    with running(GraphQLSettings(max_operations_per_websocket=2)) as service, initialized(service) as connection:
        ids = [str(number) for number in range(20)]
        send(connection, *(subscribe("subscription { count(to: 1, pause: 60) }", each) for each in ids))

        received = [receive(connection) for _ in range(20)]

    assert sorted(message["id"] for message in received if message["type"] == "next") == ids[:2]
    assert sorted(message["id"] for message in received if message["type"] == "error") == sorted(ids[2:])


@pytest.mark.parametrize("is_final", [True, False], ids=["frame", "fragments"])
def test_incomplete_messages_count_towards_the_memory_of_their_submitter(is_final: bool) -> None:
    """Otherwise each WebSocket could hold a message of the maximum size. Small messages are not affected."""
    text = json.dumps({"type": "pong", "payload": {"text": "x" * 700_000}}).encode()
    message = frame(TEXT, text, is_final=is_final)
    ping = frame(TEXT, b'{"type": "ping"}')
    with (
        running(limits=Limits(max_large_requests_mib_per_submitter=1)) as service,
        initialized(service) as first,
        initialized(service) as second,
        socket(service) as other,
    ):
        budget = service.budgets.submitter(KEY).request_bytes
        first.socket.sendall(message[:-1])
        eventually(lambda: budget.used > 600_000)
        second.socket.sendall(message[:-1])
        limit = "the limit max_large_requests_mib_per_submitter is reached: at most 1,048,576 at a time"
        assert closed(second) == (1013, f"RATE_LIMITED: {limit}; retry later")
        send(other, {"type": "connection_init", "payload": {"apiKey": OTHER_KEY}})
        assert receive(other) == ACK
        other.socket.sendall(frame(TEXT, text) + ping)
        assert receive(other)["type"] == "pong"

        first.socket.sendall((message[-1:] if is_final else message[-1:] + frame(CONTINUATION)) + ping)
        assert receive(first)["type"] == "pong"
        eventually(lambda: budget.used == 0)


@pytest.mark.parametrize("is_final", [True, False], ids=["frame", "fragments"])
def test_a_message_does_not_stay_in_memory_after_it_was_handled(is_final: bool) -> None:
    """Even if no other message follows. Otherwise 1,000 idle WebSockets could hold 1 GB."""
    text = json.dumps({"type": "pong", "payload": {"text": "x" * 900_000}}).encode()
    half = len(text) // 2
    message = frame(TEXT, text)
    if not is_final:
        message = frame(TEXT, text[:half], is_final=False) + frame(CONTINUATION, text[half:])
    settings = ServerSettings(ping_interval_seconds=3_600)  # pings and pongs are frames, too
    with running(server_settings=settings) as service, socket(service, ping_interval=None) as connection:
        send(connection, INIT)
        assert receive(connection) == ACK
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            connection.socket.sendall(message)
            eventually(lambda: tracemalloc.get_traced_memory()[1] - before > len(text))
            eventually(lambda: tracemalloc.get_traced_memory()[0] - before < half // 2)
        finally:
            tracemalloc.stop()


def test_a_refused_websocket_releases_its_incomplete_message() -> None:
    """Immediately, although the client may still read the close frame for a while."""
    message = frame(TEXT, json.dumps({"type": "pong", "payload": {"text": "x" * 900_000}}).encode())
    settings, limits = ServerSettings(unread_body_seconds=60), Limits(max_large_requests_mib_per_submitter=1)
    with running(server_settings=settings, limits=limits) as service, initialized(service, close_timeout=0.1) as first:
        budget = service.budgets.submitter(KEY).request_bytes
        first.socket.sendall(message[:500_000])
        eventually(lambda: budget.used == 500_000)
        with initialized(service, close_timeout=0.1) as second:
            second.socket.sendall(message[:300_000])
            eventually(lambda: budget.used == 800_000)
            second.socket.sendall(message[300_000:])
            eventually(lambda: budget.used == 500_000)


def test_a_ping_cannot_have_a_large_payload() -> None:
    """Its pong has the same payload, and stays in memory until the client reads it."""
    with running() as service, initialized(service) as connection:
        send(connection, {"type": "ping", "payload": {"text": "x" * 60_000}})
        assert len(receive(connection)["payload"]["text"]) == 60_000
        send(connection, {"type": "ping", "payload": {"text": "x" * 70_000}})
        assert closed(connection) == (4400, "expected at most 65,536 bytes in a ping - at `payload`")


def test_messages_count_while_their_operations_wait() -> None:
    """Otherwise a submitter could fill the memory with operations that wait for their turn."""
    query = "query($name: String!) { hello(name: $name) }"
    limits = Limits(max_large_requests_mib_per_submitter=1, max_cost_per_submitter=2)
    with running(limits=limits) as service, initialized(service) as connection:
        budget = service.budgets.submitter(KEY)
        send(connection, subscribe("{ slow(seconds: 60) }", "slow"))
        eventually(lambda: budget.light_cost.used)
        send(connection, subscribe(query, "waiting", name="x" * 1_000_000))
        eventually(lambda: budget.light_cost.waiting)
        send(connection, subscribe(query, "refused", name="x" * 70_000))  # counts only when it is complete
        refused = receive(connection)
        send(connection, {"type": "complete", "id": "slow"})
        executed = receive(connection)

        assert (refused["type"], refused["id"]) == ("error", "refused")
        assert refused["payload"][0]["extensions"]["limit"] == "max_large_requests_mib_per_submitter"
        assert (executed["type"], executed["id"]) == ("next", "waiting")
        eventually(lambda: budget.request_bytes.used == 0)


def test_messages_count_before_their_operations_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """They can wait for a turn to start, or for Firestore to confirm their key."""
    with running() as service, initialized(service) as connection:
        budget = service.budgets.submitter(KEY)
        monkeypatch.setattr(service.budgets.request_turns, "wait", lambda _: asyncio.Event().wait())
        send(connection, subscribe("query($name: String!) { hello(name: $name) }", name="x" * 70_000))
        eventually(lambda: budget.request_bytes.used >= 70_000)


def test_the_next_operation_waits_until_a_large_one_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, the messages of all WebSockets that wait to start would use much memory."""
    waiting, started, most = 0, 0, 0

    async def wait(_: object) -> None:
        nonlocal waiting, started, most
        waiting += 1
        number = waiting
        while number > started:
            most = max(most, waiting - max(started, 5))
            await asyncio.sleep(0.001)

    query = "query($name: String!) { hello(name: $name) }"
    with running() as service, initialized(service) as connection:
        for _ in range(2):  # then the document is cached
            send(connection, subscribe(query, name="x"))
            assert [receive(connection)["type"] for _ in range(2)] == ["next", "complete"]
        monkeypatch.setattr(service.budgets.request_turns, "wait", wait)
        send(connection, *(subscribe(query, str(number), name="x") for number in range(5)))
        send(connection, *(subscribe(query, str(number), name="x" * 5_000) for number in range(5, 10)))
        for _ in range(10):
            started += 1
            assert [receive(connection)["type"] for _ in range(2)] == ["next", "complete"]

    assert most == 1  # although earlier operations start and end


@pytest.mark.parametrize("header", [f"x-large: {'a' * 20_000}", "content-length: 5"])
def test_an_invalid_handshake_ends_the_connection(header: str) -> None:
    """The server does not wait for another request."""
    head = (
        f"GET /graphql HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n{header}\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with running() as service, create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode())
        response = b"".join(iter(lambda: connection.recv(4096), b""))

    assert response.startswith(b"HTTP/1.1 431 " if "large" in header else b"HTTP/1.1 400 ")


def test_mistakes_of_clients_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """For example text that is not UTF-8, a page of another origin, and an invalid frame during a subscription."""
    with running() as service:
        with pytest.raises(InvalidStatus) as refused, socket(service, origin="https://other.example"):
            pass
        with initialized(service) as connection:
            connection.protocol.send_text(b"\xff")
            connection.socket.sendall(b"".join(connection.protocol.data_to_send()))
            assert closed(connection)[0] == 1007
        with initialized(service) as connection:
            send(connection, *(subscribe("subscription { text(length: 5) }", str(number)) for number in range(50)))
            for _ in range(200):
                receive(connection)
            connection.socket.sendall(b"\xf1\x80\0\0\0\0")
            assert closed(connection)[0] == 1002

    assert refused.value.response.status_code == 403
    assert caplog.records == []
