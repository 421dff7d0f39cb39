"""GraphQL over Server-Sent Events: one stream for each operation."""

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from graphql_api.graphql_server import GraphQLSettings
from tests.graphql_api.graphql_server.clients import EVENTS, events, subscribed, wait_until_no_subscriptions
from tests.graphql_api.graphql_server.example import PRETTY
from tests.graphql_api.graphql_server.service import Service, running


def test_a_subscription_is_a_stream_of_events(service: Service) -> None:
    """The stream ends with `complete`."""
    with subscribed(service, "subscription { count(to: 2) }") as stream:
        assert list(stream) == [
            (":", None),
            ("next", {"data": {"count": 0}}),
            ("next", {"data": {"count": 1}}),
            ("complete", None),
        ]


def test_a_stream_does_not_hold_the_body_of_its_request(service: Service) -> None:
    """A body may be mostly whitespace, which compresses to almost nothing, and a client may open many streams."""
    query = "subscription ($to: Int!) { count(to: $to, pause: 60) }"
    request = json.dumps({"query": query, "variables": {"to": 2}}).encode()
    body = request + b" " * 2_000_000
    headers = {"content-type": "application/json", **EVENTS}
    tracemalloc.start()
    try:
        with service.client.stream("POST", "/graphql", content=body, headers=headers) as response:
            texts = response.iter_text()  # the client disconnects when this iterator is deleted
            assert "next" in next(text for text in texts if "next" in text)
            held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < len(body) // 2


def test_streams_do_not_hold_variables(service: Service) -> None:
    """A client may open many streams, each with variables that its operation does not use."""
    query = "subscription ($to: Int!) { count(to: $to, pause: 60) }"
    body = json.dumps({"query": query, "variables": {"to": 2, "unused": "x" * 900_000}}).encode()
    headers = {"content-type": "application/json", **EVENTS}
    tracemalloc.start()
    streams = []
    try:
        with ExitStack() as opened:
            for _ in range(10):
                response = opened.enter_context(
                    service.client.stream("POST", "/graphql", content=body, headers=headers)
                )
                streams.append(response.iter_text())
                assert "next" in next(text for text in streams[-1] if "next" in text)
            assert service.state.subscriptions == 10
            held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 5 * len(body)


@pytest.mark.parametrize(("method", "query"), [("POST", "{ hello }"), ("GET", "{ hello }")])
def test_the_response_to_a_query_may_be_a_stream(service: Service, method: str, query: str) -> None:
    """It has one event, for clients that accept only event streams."""
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
def test_an_error_is_an_event(service: Service, query: str, code: str) -> None:
    """The EventSource of a browser does not show the body of a 400."""
    with subscribed(service, query) as stream:
        *_, (event, data), end = stream

    assert isinstance(data, dict)
    assert (event, data["errors"][0]["extensions"]["code"]) == ("next", code)
    assert "secret" not in str(data)
    assert end == ("complete", None)


@pytest.mark.parametrize(
    ("query", "column", "name"),
    [
        ("subscription { failing(onPurpose: true) }", 16, "failing"),
        ("subscription { mine: failing(onPurpose: false) }", 16, "mine"),
        ("subscription { ...A } fragment A on Subscription { ... { failing(onPurpose: true) } }", 58, "failing"),
    ],
)
def test_an_error_of_the_event_source_names_its_field(service: Service, query: str, column: int, name: str) -> None:
    """Clients assign an error to a field by its path."""
    with subscribed(service, query) as stream:
        *_, (_, data), _ = stream

    assert isinstance(data, dict)
    [error] = data["errors"]
    assert (error["locations"], error["path"]) == ([{"line": 1, "column": column}], [name])


def test_a_document_on_several_lines_is_one_event(service: Service) -> None:
    """Blank lines in the document do not end the event."""
    with subscribed(service, "{ pretty }") as stream:
        received = [event for event in stream if event[1]]

    assert received == [("next", {"data": {"pretty": json.loads(PRETTY)}})]


def test_a_stream_without_events_sends_comments() -> None:
    """Proxies would close a stream that sends nothing."""
    with (
        running(GraphQLSettings(keep_alive_seconds=0.1)) as service,
        subscribed(service, "subscription { count(to: 2, pause: 60) }") as stream,
    ):
        first = next(event for event in stream if event != (":", None))  # on a busy machine, a comment can precede it
        received = [next(stream) for _ in range(2)]

    assert first == ("next", {"data": {"count": 0}})
    assert received == [(":", None), (":", None)]


def test_a_disconnect_ends_the_subscription(service: Service) -> None:
    """The source is closed at once, not at its next event."""
    with subscribed(service, "subscription { count(to: 2, pause: 60) }") as stream:
        next(stream), next(stream)
        assert service.state.subscriptions == 1

    wait_until_no_subscriptions(service)


def test_a_hundred_subscribers_receive_fifty_events_each(service: Service) -> None:
    """No event is lost or sent twice."""

    def watch(_: int) -> list[int]:
        body = {"query": "subscription { count(to: 50) }"}
        text = service.client.post("/graphql", json=body, headers=EVENTS).text
        return [data["data"]["count"] for event, data in events(iter(text.splitlines())) if isinstance(data, dict)]

    with ThreadPoolExecutor(20) as pool:
        watched = list(pool.map(watch, range(100)))

    assert watched == [list(range(50))] * 100
