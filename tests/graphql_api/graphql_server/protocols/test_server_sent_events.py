"""Server-Sent Events: one stream per operation, and one stream for many."""

import contextlib
import json
import socket
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from graphql_api.graphql_server import TransportSettings
from tests.graphql_api.graphql_server.clients import EVENTS, assert_nobody_watches, events, subscribed
from tests.graphql_api.graphql_server.example import PRETTY
from tests.graphql_api.graphql_server.service import KEY, OTHER_KEY, Service, error_of, running

TOKEN = "x-graphql-event-stream-token"


def test_a_subscription_is_a_stream_of_events(service: Service) -> None:
    """It ends with `complete`."""
    with subscribed(service, "subscription { count(to: 2) }") as stream:
        assert list(stream) == [
            (":", None),
            ("next", {"data": {"count": 0}}),
            ("next", {"data": {"count": 1}}),
            ("complete", None),
        ]


def test_a_stream_does_not_keep_the_body_that_asked_for_it(service: Service) -> None:
    """It may be mostly space, which is nothing once it is compressed, and streams are many."""
    query = "subscription ($to: Int!) { count(to: $to, pause: 60) }"
    asked = json.dumps({"query": query, "variables": {"to": 2}}).encode()
    body = asked + b" " * 8 * 2**20
    headers = {"content-type": "application/json", **EVENTS}
    tracemalloc.start()
    try:
        with service.client.stream("POST", "/graphql", content=body, headers=headers) as response:
            assert "next" in next(text for text in response.iter_text() if "next" in text)
            kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < len(body) // 2


@pytest.mark.parametrize(("method", "query"), [("POST", "{ hello }"), ("GET", "{ hello }")])
def test_a_query_may_be_answered_as_a_stream(service: Service, method: str, query: str) -> None:
    """One event, for clients that accept nothing else."""
    if method == "GET":
        response = service.client.get("/graphql", params={"query": query}, headers=EVENTS)
    else:
        response = service.client.post("/graphql", json={"query": query}, headers=EVENTS)

    assert [event for event, _ in events(iter(response.text.splitlines()))] == [":", "next", "complete"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { count(to: }", "GRAPHQL_PARSE_FAILED"),
        ("subscription { counted }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription($n: Int!) { count(to: $n) }", "BAD_USER_INPUT"),
        ("subscription { failing(onPurpose: true) }", "NOT_FOUND"),
        ("subscription { failing(onPurpose: false) }", "INTERNAL"),
    ],
)
def test_what_is_wrong_is_an_event_too(service: Service, query: str, code: str) -> None:
    """A browser's EventSource shows nothing of a 400."""
    with subscribed(service, query) as stream:
        *_, (event, data), end = stream

    assert isinstance(data, dict)
    assert (event, data["errors"][0]["extensions"]["code"]) == ("next", code)
    assert "secret" not in str(data)
    assert end == ("complete", None)


def test_a_document_on_several_lines_is_one_event(service: Service) -> None:
    """Blank lines in it do not end the event, on either kind of stream."""
    token = reserve(service)
    with subscribed(service, "{ pretty }") as stream:
        alone = [event for event in stream if event[1]]
    with opened(service, token) as stream:
        start(service, token, "a", "{ pretty }")
        shared = next(stream)

    payload = {"data": {"pretty": json.loads(PRETTY)}}
    assert alone == [("next", payload)]
    assert shared == ("next", {"id": "a", "payload": payload})


def test_a_silent_stream_shows_that_it_is_alive() -> None:
    """Comments keep proxies from closing it."""
    with (
        running(TransportSettings(keep_alive_seconds=0.1)) as service,
        subscribed(service, "subscription { count(to: 2, pause: 60) }") as stream,
    ):
        seen = [next(stream) for _ in range(4)]

    assert seen == [(":", None), ("next", {"data": {"count": 0}}), (":", None), (":", None)]


def test_a_client_that_goes_ends_its_subscription(service: Service) -> None:
    """The source is told at once, not at its next event."""
    with subscribed(service, "subscription { count(to: 2, pause: 60) }") as stream:
        next(stream), next(stream)
        assert service.state.watching == 1

    assert_nobody_watches(service)


def test_a_hundred_subscribers_get_fifty_events_each(service: Service) -> None:
    """None lost, none doubled."""

    def watch(_: int) -> list[int]:
        body = {"query": "subscription { count(to: 50) }"}
        text = service.client.post("/graphql", json=body, headers=EVENTS).text
        return [data["data"]["count"] for event, data in events(iter(text.splitlines())) if isinstance(data, dict)]

    with ThreadPoolExecutor(20) as pool:
        watched = list(pool.map(watch, range(100)))

    assert watched == [list(range(50))] * 100


def reserve(service: Service) -> str:
    """Ask for a token."""
    response = service.client.put("/graphql")
    assert response.status_code == 201
    return response.text


def start(service: Service, token: str, operation_id: object, query: str) -> httpx.Response:
    """Start an operation on the stream of a token."""
    body = {"query": query, "extensions": {"operationId": operation_id}}
    return service.client.post("/graphql", json=body, headers={TOKEN: token})


@contextlib.contextmanager
def opened(service: Service, token: str) -> Iterator[Iterator[tuple[str, object]]]:
    """Open the stream of a token, as a browser does: without the key."""
    with service.stranger.stream("GET", "/graphql", params={"token": token}, headers=EVENTS) as response:
        assert response.status_code == 200
        stream = events(response.iter_lines())
        assert next(stream) == (":", None)
        yield stream


def test_one_stream_carries_many_operations(service: Service) -> None:
    """Each event names the operation that it belongs to."""
    token = reserve(service)
    with opened(service, token) as stream:
        assert start(service, token, "a", "subscription { count(to: 2) }").status_code == 202
        first = [next(stream) for _ in range(3)]
        assert start(service, token, "a", "{ hello }").status_code == 202
        second = [next(stream) for _ in range(2)]

    assert first == [
        ("next", {"id": "a", "payload": {"data": {"count": 0}}}),
        ("next", {"id": "a", "payload": {"data": {"count": 1}}}),
        ("complete", {"id": "a"}),
    ]
    assert second == [("next", {"id": "a", "payload": {"data": {"hello": "hello you"}}}), ("complete", {"id": "a"})]


def test_an_operation_is_stopped_alone(service: Service) -> None:
    """The others and the stream go on."""
    token = reserve(service)
    with opened(service, token) as stream:
        start(service, token, "a", "subscription { count(to: 2, pause: 60) }")
        assert next(stream) == ("next", {"id": "a", "payload": {"data": {"count": 0}}})
        response = service.client.delete("/graphql", params={"operationId": "a"}, headers={TOKEN: token})
        assert response.status_code == 200
        assert_nobody_watches(service)
        start(service, token, "b", "{ hello }")
        assert next(stream) == ("next", {"id": "b", "payload": {"data": {"hello": "hello you"}}})


def test_operations_on_a_stream_have_ids_of_their_own(service: Service) -> None:
    """Otherwise nobody could tell their events apart."""
    token = reserve(service)
    with opened(service, token):
        assert start(service, token, "a", "subscription { count(to: 2, pause: 60) }").status_code == 202

        assert error_of(start(service, token, "a", "{ hello }")) == (409, "CONFLICT")
        assert error_of(start(service, token, None, "{ hello }")) == (400, "BAD_REQUEST")
        assert error_of(start(service, token, 7, "{ hello }")) == (400, "BAD_REQUEST")
        assert error_of(start(service, token, "b", "{")) == (400, "GRAPHQL_PARSE_FAILED")


def test_a_token_belongs_to_the_key_that_asked_for_it(service: Service) -> None:
    """And opens one stream."""
    token = reserve(service)
    other = {"x-api-key": OTHER_KEY, TOKEN: token}
    body = {"query": "{ hello }", "extensions": {"operationId": "a"}}

    assert error_of(service.stranger.post("/graphql", json=body, headers=other)) == (404, "NOT_FOUND")
    assert error_of(service.stranger.get("/graphql", headers=other)) == (404, "NOT_FOUND")
    assert error_of(service.stranger.post("/graphql", json=body, headers={TOKEN: token})) == (401, "UNAUTHENTICATED")
    assert error_of(service.stranger.get("/graphql?token=unknown")) == (401, "UNAUTHENTICATED")
    assert error_of(service.client.get("/graphql?token=unknown")) == (404, "NOT_FOUND")
    with opened(service, token):
        assert error_of(service.client.get("/graphql", headers={TOKEN: token})) == (409, "CONFLICT")


def test_streams_and_what_waits_on_them_are_bounded() -> None:
    """A token that is not used expires; a queue that nobody reads holds back its operation."""
    settings = TransportSettings(max_own_streams=2, reservation_seconds=0.5, event_queue_length=5, max_subscriptions=1)
    with running(settings) as service:
        token = reserve(service)
        start(service, token, "a", "subscription { text(length: 10) }")
        reserve(service)
        assert error_of(service.client.put("/graphql")) == (429, "RATE_LIMITED")
        assert error_of(start(service, token, "b", "{ hello }")) == (429, "RATE_LIMITED")
        assert_nobody_watches(service)
        assert error_of(start(service, token, "a", "{ hello }")) == (404, "NOT_FOUND")
        reserve(service)


def test_nothing_starts_on_a_stream_that_ended_meanwhile(service: Service) -> None:
    """Its operation would run for nobody: the body of the request came after the client had gone."""
    token = reserve(service)
    body = b'{"query":"subscription { count(to: 9, pause: 60) }","extensions":{"operationId":"a"}}'
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as slow:
        with opened(service, token):
            slow.sendall(
                f"POST /graphql HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n{TOKEN}: {token}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            )
            slow.sendall(body[:1])
            start(service, token, "b", "{ hello }")
        while start(service, token, "c", "{ hello }").status_code != 404:
            time.sleep(0.01)
        slow.sendall(body[1:])

        assert slow.recv(1000).startswith(b"HTTP/1.1 404 ")
    assert service.state.watching == 0
