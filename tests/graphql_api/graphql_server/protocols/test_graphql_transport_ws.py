"""The graphql-transport-ws protocol: its messages, and a close code for each violation."""

import json

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from graphql_api.graphql_server import GraphQLSettings
from storage.documents.errors import Unauthenticated, Unavailable
from tests.graphql_api.graphql_server.clients import (
    ACK,
    INIT,
    closed,
    initialized,
    receive,
    send,
    socket,
    subscribe,
    wait_until_no_subscriptions,
)
from tests.graphql_api.graphql_server.service import KEY, OTHER_KEY, Service, running


@pytest.mark.parametrize(
    "payload",
    [
        {"apiKey": KEY},
        {"x-api-key": KEY},
        {"X-API-Key": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
    ],
)
def test_connection_init_carries_the_key(service: Service, payload: dict[str, str]) -> None:
    """Under any of the names that clients use."""
    with socket(service) as connection:
        send(connection, {"type": "connection_init", "payload": payload})
        assert receive(connection) == ACK


def test_the_handshake_may_carry_the_key(service: Service) -> None:
    """Like every other HTTP request."""
    with socket(service, additional_headers={"x-api-key": KEY}) as connection:
        send(connection, {"type": "connection_init"})
        assert receive(connection) == ACK


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "connection_init"}, 4401),
        ({"type": "connection_init", "payload": {}}, 4401),
        ({"type": "connection_init", "payload": None}, 4401),
        ({"type": "connection_init", "payload": {"apiKey": 7}}, 4401),
        ({"type": "connection_init", "payload": {"apiKey": "wrong"}}, 4403),
        ({"type": "connection_init", "payload": {"authorization": "Bearer wrong"}}, 4403),
        ({"type": "connection_init", "payload": {"apiKey": KEY, "x-api-key": OTHER_KEY}}, 4401),
    ],
)
def test_a_websocket_without_a_valid_key_is_closed(service: Service, message: object, code: int) -> None:
    """The reason names the error code."""
    with socket(service) as connection:
        send(connection, message)
        closing, reason = closed(connection)

    assert closing == code
    assert reason.startswith("UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("before", "message", "code"),
    [
        ([], subscribe("{ hello }"), 4401),
        ([INIT], INIT, 4429),
        ([INIT], {"type": "unknown"}, 4400),
        ([INIT], {"id": "1"}, 4400),
        ([INIT], [], 4400),
        ([INIT], "text", 4400),
        ([INIT], subscribe("{ hello }", operation_id=1), 4400),
        ([INIT], subscribe("{ hello }", operation_id=""), 4400),
        ([INIT], subscribe("{ hello }", operation_id="x" * 1000), 4400),
        ([INIT], {"type": "subscribe", "payload": {"query": "{ hello }"}}, 4400),
        ([INIT], {"type": "subscribe", "id": "1"}, 4400),
        ([INIT], {"type": "subscribe", "id": "1", "payload": None}, 4400),
        ([INIT], {"type": "subscribe", "id": "1", "payload": {"query": 1}}, 4400),
        ([INIT], {"type": "subscribe", "id": "1", "payload": {"query": "{a}", "variables": []}}, 4400),
        ([INIT], {"type": "complete"}, 4400),
        ([], {"type": "connection_init", "payload": []}, 4400),
        ([INIT, subscribe("subscription { count(to: 9, pause: 60) }")], subscribe("{ hello }"), 4409),
    ],
)
def test_a_protocol_violation_closes_the_websocket(
    service: Service, before: list[object], message: object, code: int
) -> None:
    """The protocol defines a code for each violation."""
    with socket(service) as connection:
        send(connection, *before, message)
        assert closed(connection)[0] == code


@pytest.mark.parametrize(
    "frame", ["", "{", "[" * 100_000, b"\x00", b'{"type": "ping"}', '{"type": "ping", "id": "\\ud800"}']
)
def test_an_invalid_message_closes_the_websocket(service: Service, frame: str | bytes) -> None:
    """For example text that is not JSON, JSON that is too deep, or a binary message."""
    with initialized(service) as connection:
        connection.send(frame)
        assert closed(connection)[0] == 4400


@pytest.mark.parametrize("subprotocols", [None, [Subprotocol("graphql-ws")], [Subprotocol("unknown")]])
def test_other_subprotocols_are_rejected(service: Service, subprotocols: list[Subprotocol] | None) -> None:
    """graphql-ws, the predecessor, is one of them."""
    with socket(service, subprotocols=subprotocols) as connection:
        assert closed(connection)[0] == 4406


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_origins_cannot_connect(service: Service, origin: str) -> None:
    """Browsers open WebSockets across origins, so the server has to refuse them."""
    with pytest.raises(InvalidStatus) as refused, socket(service, origin=origin):
        pass

    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_pages_of_the_same_and_of_allowed_origins_can_connect() -> None:
    """The settings name the allowed origins."""
    with running(GraphQLSettings(allowed_origins=frozenset({"https://good.example"}))) as service:
        for origin in ("https://good.example", f"http://127.0.0.1:{service.port}"):
            with socket(service, origin=origin) as connection:
                send(connection, INIT)
                assert receive(connection) == ACK


def test_operations_of_every_type_are_executed(service: Service) -> None:
    """Each message names its operation."""
    with initialized(service) as connection:
        send(connection, subscribe("subscription { count(to: 2) }", "s"))
        assert [receive(connection) for _ in range(3)] == [
            {"type": "next", "id": "s", "payload": {"data": {"count": 0}}},
            {"type": "next", "id": "s", "payload": {"data": {"count": 1}}},
            {"type": "complete", "id": "s"},
        ]
        send(connection, subscribe("mutation($s: RawSample!) { submit(sample: $s) }", "s", s={"a": [1.50]}))
        assert receive(connection)["payload"]["data"]["submit"]
        assert receive(connection) == {"type": "complete", "id": "s"}

    assert service.state.submitted == [b'{"a": [1.5]}']


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ hello", "GRAPHQL_PARSE_FAILED"),
        ("{ helo }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: String!) { hello(name: $n) }", "BAD_USER_INPUT"),
        ("subscription { failing(onPurpose: true) }", "NOT_FOUND"),
        ("subscription { failing(onPurpose: false) }", "INTERNAL"),
        ("{ " + "hello " * 500 + " }", "OPERATION_TOO_COMPLEX"),
    ],
)
def test_an_error_of_one_operation_leaves_the_websocket_open(service: Service, query: str, code: str) -> None:
    """The error is sent with the id of the operation."""
    with initialized(service) as connection:
        send(connection, subscribe(query, "bad"))
        while (message := receive(connection))["type"] == "next" and "errors" not in message["payload"]:
            continue
        described = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert (message["id"], described[0]["extensions"]["code"]) == ("bad", code)
        assert "secret" not in str(message)
        if message["type"] == "next":
            assert receive(connection) == {"type": "complete", "id": "bad"}
        send(connection, subscribe("{ hello }", "bad"))
        assert receive(connection)["payload"] == {"data": {"hello": "hello you"}}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unauthenticated("the key was revoked"), "UNAUTHENTICATED"),
        (Unavailable("Firestore does not respond"), "UNAVAILABLE"),
        (TimeoutError("a secret of the network"), "INTERNAL"),
        (ConnectionResetError("a secret of the network"), "INTERNAL"),
    ],
)
def test_the_key_is_checked_for_every_operation(service: Service, error: Exception, code: str) -> None:
    """The key may have been revoked. An unexpected error is not mistaken for a disconnect."""
    with initialized(service) as connection:
        service.state.authentication_error = error
        send(connection, subscribe("{ hello }"))
        message = receive(connection)

    assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", code)
    assert "secret" not in str(message)


@pytest.mark.parametrize(
    ("error", "code"), [(Unavailable("Firestore does not respond"), 1013), (TimeoutError("a secret"), 1011)]
)
def test_a_websocket_that_cannot_be_initialized_is_closed(service: Service, error: Exception, code: int) -> None:
    """The code tells the client whether to reconnect."""
    service.state.authentication_error = error
    with socket(service) as connection:
        send(connection, INIT)
        closing, reason = closed(connection)

    assert closing == code
    assert "secret" not in reason


def test_a_completed_operation_ends_at_once(service: Service) -> None:
    """Its id can be reused. Completing an unknown operation has no effect."""
    with initialized(service) as connection:
        send(connection, subscribe("subscription { count(to: 9, pause: 60) }"))
        receive(connection)
        send(connection, {"type": "complete", "id": "1"}, {"type": "complete", "id": "unknown"})
        send(connection, subscribe("{ hello }"))
        assert receive(connection)["payload"] == {"data": {"hello": "hello you"}}
        wait_until_no_subscriptions(service)


def test_a_disconnect_ends_all_subscriptions(service: Service) -> None:
    """Their sources are closed."""
    with initialized(service) as connection:
        for number in range(5):
            send(connection, subscribe("subscription { count(to: 9, pause: 60) }", str(number)))
            receive(connection)
        assert service.state.subscriptions == 5

    wait_until_no_subscriptions(service)


def test_a_ping_is_followed_by_a_pong(service: Service) -> None:
    """The pong has the payload of the ping, also before initialization."""
    with socket(service) as connection:
        send(connection, {"type": "ping"}, {"type": "ping", "payload": {"a": 1}}, {"type": "pong"}, INIT)
        assert [receive(connection) for _ in range(3)] == [
            {"type": "pong"},
            {"type": "pong", "payload": {"a": 1}},
            ACK,
        ]
