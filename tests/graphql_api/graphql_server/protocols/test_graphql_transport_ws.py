"""graphql-transport-ws: its messages, and a close code for everything that breaks it."""

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
    hear,
    initialised,
    socket,
    subscribe,
    tell,
    wait_until_no_subscriptions,
)
from tests.graphql_api.graphql_server.service import KEY, Service, running


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
def test_the_key_comes_with_connection_init(service: Service, payload: dict[str, str]) -> None:
    """In any of the names that clients use."""
    with socket(service) as connection:
        tell(connection, {"type": "connection_init", "payload": payload})
        assert hear(connection) == ACK


def test_the_key_may_come_with_the_handshake(service: Service) -> None:
    """As with every other request."""
    with socket(service, additional_headers={"x-api-key": KEY}) as connection:
        tell(connection, {"type": "connection_init"})
        assert hear(connection) == ACK


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "connection_init"}, 4401),
        ({"type": "connection_init", "payload": {}}, 4401),
        ({"type": "connection_init", "payload": None}, 4401),
        ({"type": "connection_init", "payload": {"apiKey": 7}}, 4401),
        ({"type": "connection_init", "payload": {"apiKey": "wrong"}}, 4403),
        ({"type": "connection_init", "payload": {"authorization": "Bearer wrong"}}, 4403),
    ],
)
def test_without_a_good_key_the_socket_is_closed(service: Service, message: object, code: int) -> None:
    """The reason says that it is the key."""
    with socket(service) as connection:
        tell(connection, message)
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
def test_what_breaks_the_protocol_closes_the_socket(
    service: Service, before: list[object], message: object, code: int
) -> None:
    """With the code that the protocol has for it."""
    with socket(service) as connection:
        tell(connection, *before, message)
        assert closed(connection)[0] == code


@pytest.mark.parametrize(
    "frame", ["", "{", "[" * 100_000, b"\x00", b'{"type": "ping"}', '{"type": "ping", "id": "\\ud800"}']
)
def test_what_is_no_message_closes_the_socket(service: Service, frame: str | bytes) -> None:
    """Whether it is not JSON, too deep or not text."""
    with initialised(service) as connection:
        connection.send(frame)
        assert closed(connection)[0] == 4400


@pytest.mark.parametrize("subprotocols", [None, [Subprotocol("graphql-ws")], [Subprotocol("unknown")]])
def test_other_subprotocols_are_not_spoken(service: Service, subprotocols: list[Subprotocol] | None) -> None:
    """Among them the one that came before."""
    with socket(service, subprotocols=subprotocols) as connection:
        assert closed(connection)[0] == 4406


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_origins_cannot_connect(service: Service, origin: str) -> None:
    """A browser would let them, were they not refused."""
    with pytest.raises(InvalidStatus) as refused, socket(service, origin=origin):
        pass

    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_pages_of_our_own_and_of_allowed_origins_can_connect() -> None:
    """Those that the settings name."""
    with running(GraphQLSettings(allowed_origins=frozenset({"https://good.example"}))) as service:
        for origin in ("https://good.example", f"http://127.0.0.1:{service.port}"):
            with socket(service, origin=origin) as connection:
                tell(connection, INIT)
                assert hear(connection) == ACK


def test_operations_of_every_type_are_answered(service: Service) -> None:
    """Their messages may be interleaved, and name the operation."""
    with initialised(service) as connection:
        tell(connection, subscribe("subscription { count(to: 2) }", "s"))
        assert [hear(connection) for _ in range(3)] == [
            {"type": "next", "id": "s", "payload": {"data": {"count": 0}}},
            {"type": "next", "id": "s", "payload": {"data": {"count": 1}}},
            {"type": "complete", "id": "s"},
        ]
        tell(connection, subscribe("mutation($s: RawSample!) { submit(sample: $s) }", "s", s={"a": [1.50]}))
        assert hear(connection)["payload"]["data"]["submit"]
        assert hear(connection) == {"type": "complete", "id": "s"}

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
def test_an_error_of_one_operation_leaves_the_socket_open(service: Service, query: str, code: str) -> None:
    """It is told under the operation's id."""
    with initialised(service) as connection:
        tell(connection, subscribe(query, "bad"))
        while (message := hear(connection))["type"] == "next" and "errors" not in message["payload"]:
            pass
        described = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert (message["id"], described[0]["extensions"]["code"]) == ("bad", code)
        assert "secret" not in str(message)
        if message["type"] == "next":
            assert hear(connection) == {"type": "complete", "id": "bad"}
        tell(connection, subscribe("{ hello }", "bad"))
        assert hear(connection)["payload"] == {"data": {"hello": "hello you"}}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unauthenticated("The key was revoked."), "UNAUTHENTICATED"),
        (Unavailable("Firestore does not answer."), "UNAVAILABLE"),
        (TimeoutError("a secret of the network"), "INTERNAL"),
        (ConnectionResetError("a secret of the network"), "INTERNAL"),
    ],
)
def test_the_key_is_checked_for_every_operation(service: Service, error: Exception, code: str) -> None:
    """It may have been revoked; a failure of ours is not taken for one of the socket."""
    with initialised(service) as connection:
        service.state.authentication_error = error
        tell(connection, subscribe("{ hello }"))
        message = hear(connection)

    assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", code)
    assert "secret" not in str(message)


@pytest.mark.parametrize(
    ("error", "code"), [(Unavailable("Firestore does not answer."), 1013), (TimeoutError("a secret"), 1011)]
)
def test_a_socket_that_cannot_be_initialised_is_closed(service: Service, error: Exception, code: int) -> None:
    """So that the client comes back, where that may help."""
    service.state.authentication_error = error
    with socket(service) as connection:
        tell(connection, INIT)
        closing, reason = closed(connection)

    assert closing == code
    assert "secret" not in reason


def test_a_completed_operation_ends_at_once(service: Service) -> None:
    """And its id is free again; completing what is not there is no error."""
    with initialised(service) as connection:
        tell(connection, subscribe("subscription { count(to: 9, pause: 60) }"))
        hear(connection)
        tell(connection, {"type": "complete", "id": "1"}, {"type": "complete", "id": "unknown"})
        tell(connection, subscribe("{ hello }"))
        assert hear(connection)["payload"] == {"data": {"hello": "hello you"}}
        wait_until_no_subscriptions(service)


def test_a_client_that_goes_ends_its_subscriptions(service: Service) -> None:
    """All of them."""
    with initialised(service) as connection:
        for number in range(5):
            tell(connection, subscribe("subscription { count(to: 9, pause: 60) }", str(number)))
            hear(connection)
        assert service.state.subscriptions == 5

    wait_until_no_subscriptions(service)


def test_pings_are_answered(service: Service) -> None:
    """With what they carried, also before initialisation."""
    with socket(service) as connection:
        tell(connection, {"type": "ping"}, {"type": "ping", "payload": {"a": 1}}, {"type": "pong"}, INIT)
        assert [hear(connection) for _ in range(3)] == [
            {"type": "pong"},
            {"type": "pong", "payload": {"a": 1}},
            ACK,
        ]
