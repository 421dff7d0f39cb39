"""Subscriptions as parts, as Apollo's clients read them."""

import json

import pytest

from graphql_api.graphql_server import TransportSettings
from tests.graphql_api.graphql_server.example import PRETTY
from tests.graphql_api.graphql_server.service import Service, running

# What Apollo Client sends.
APOLLO = (
    'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9'
)


def parts(text: str) -> list[object]:
    """Split a whole response into the JSON of its parts."""
    preamble, *bodies, end = text.split("\r\n--graphql")
    assert preamble == ""
    assert end == "--\r\n"
    return [json.loads(body.removeprefix("\r\ncontent-type: application/json\r\n\r\n")) for body in bodies]


def test_a_subscription_is_a_sequence_of_parts(service: Service) -> None:
    """Each holds one payload."""
    response = service.post("subscription { count(to: 2) }", accept=APOLLO)

    assert response.headers["content-type"] == 'multipart/mixed; boundary="graphql"; subscriptionSpec=1.0'
    assert parts(response.text) == [{"payload": {"data": {"count": 0}}}, {"payload": {"data": {"count": 1}}}]


def test_a_query_is_answered_at_once(service: Service) -> None:
    """The same client asks with the same header."""
    response = service.post("{ hello }", accept=APOLLO)

    assert response.headers["content-type"] == "application/graphql-response+json; charset=utf-8"
    assert response.json() == {"data": {"hello": "hello you"}}


def test_a_document_on_several_lines_is_one_part(service: Service) -> None:
    """No line break in it makes a boundary."""
    response = service.post("{ pretty }", accept=APOLLO.partition(",")[0])

    assert parts(response.text) == [{"payload": {"data": {"pretty": json.loads(PRETTY)}}}]


@pytest.mark.parametrize("accept", ["multipart/mixed", "multipart/mixed;deferSpec=20220824"])
def test_other_uses_of_parts_are_not_spoken(service: Service, accept: str) -> None:
    """A client that means something else by it is told so."""
    assert service.post("subscription { count(to: 2) }", accept=accept).status_code == 406


def test_a_silent_subscription_shows_that_it_is_alive() -> None:
    """By parts without a payload, and it ends as one does."""
    with running(TransportSettings(keep_alive_seconds=0.1)) as service:
        response = service.post("subscription { count(to: 2, pause: 0.35) }", accept=APOLLO)

    assert parts(response.text)[:3] == [{"payload": {"data": {"count": 0}}}, {}, {}]


def test_a_client_is_told_that_the_server_stops() -> None:
    """With an error of the connection, not of the subscription."""
    with running() as service:
        body = {"query": "subscription { count(to: 2, pause: 60) }"}
        with service.client.stream("POST", "/graphql", json=body, headers={"accept": APOLLO}) as response:
            chunks = response.iter_text()
            text = next(chunks)
            while "count" not in text:
                text += next(chunks)
            service.server.should_exit = True
            text += "".join(chunks)

    *_, last = parts(text)
    assert isinstance(last, dict)
    assert last["payload"] is None
    assert last["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
