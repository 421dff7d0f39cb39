"""What is open when its key is revoked ends, be it busy or idle, in the way that its protocol has for it."""

from collections.abc import Iterator

import pytest

from graphql_api.graphql_server import TransportSettings
from storage.documents.errors import Unauthenticated, Unavailable
from tests.graphql_api.graphql_server.clients import (
    assert_nobody_watches,
    closed,
    hear,
    initialised,
    subscribe,
    subscribed,
    tell,
)
from tests.graphql_api.graphql_server.protocols.test_multipart import APOLLO, parts
from tests.graphql_api.graphql_server.protocols.test_server_sent_events import opened, reserve, start
from tests.graphql_api.graphql_server.service import Service, running

IDLE = "subscription { count(to: 2, pause: 60) }"
BUSY = "subscription { count(to: 1000000, pause: 0.01) }"
FIRST = {"data": {"count": 0}}


@pytest.fixture(scope="module")
def checking_service() -> Iterator[Service]:
    """Serve, and look at keys often."""
    with running(TransportSettings(recheck_seconds=0.1)) as service:
        yield service


@pytest.fixture
def checking(checking_service: Service) -> Iterator[Service]:
    """Return the service with all keys as good as they were."""
    yield checking_service
    checking_service.state.context_error = None


def revoke(service: Service) -> None:
    """Make all keys bad."""
    service.state.context_error = Unauthenticated("This key was revoked.")


@pytest.mark.parametrize("query", [IDLE, BUSY])
def test_a_socket_is_closed(checking: Service, query: str) -> None:
    """With the code of a key that is refused."""
    with initialised(checking) as connection:
        tell(connection, subscribe(query))
        assert hear(connection)["payload"] == FIRST
        revoke(checking)

        assert closed(connection) == (4403, "UNAUTHENTICATED: This key was revoked.")
    assert_nobody_watches(checking)


@pytest.mark.parametrize("query", [IDLE, BUSY])
def test_a_stream_says_why_and_completes(checking: Service, query: str) -> None:
    """As one does that fails for another reason."""
    with subscribed(checking, query) as stream:
        assert [next(stream) for _ in range(2)] == [(":", None), ("next", FIRST)]
        revoke(checking)
        *_, (event, data), end = stream

    assert isinstance(data, dict)
    assert (event, data["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
    assert end == ("complete", None)
    assert_nobody_watches(checking)


def test_each_operation_on_a_shared_stream_is_told(checking: Service) -> None:
    """And then the stream ends."""
    token = reserve(checking)
    with opened(checking, token) as stream:
        for operation_id in "ab":
            start(checking, token, operation_id, IDLE)
            assert next(stream) == ("next", {"id": operation_id, "payload": FIRST})
        revoke(checking)
        told = list(stream)

    assert [(event, data["id"]) for event, data in told if isinstance(data, dict)] == [
        ("next", "a"),
        ("complete", "a"),
        ("next", "b"),
        ("complete", "b"),
    ]
    assert str(told).count("UNAUTHENTICATED") == 2
    assert_nobody_watches(checking)


def test_the_last_part_says_why(checking: Service) -> None:
    """As an error of the connection, not of the subscription."""
    body = {"query": IDLE}
    with checking.client.stream("POST", "/graphql", json=body, headers={"accept": APOLLO}) as response:
        chunks = response.iter_text()
        text = next(chunks)
        while "count" not in text:
            text += next(chunks)
        revoke(checking)
        text += "".join(chunks)

    *_, last = parts(text)
    assert isinstance(last, dict)
    assert (last["payload"], last["errors"][0]["extensions"]["code"]) == (None, "UNAUTHENTICATED")


def test_who_was_let_in_stays_while_nobody_can_tell(checking: Service) -> None:
    """An outage of Firestore is no reason to cut off all who watch."""
    with initialised(checking) as connection, subscribed(checking, BUSY) as stream:
        tell(connection, subscribe(BUSY))
        hear(connection), next(stream)
        asked = checking.state.asked
        checking.state.context_error = Unavailable("Firestore does not answer.")
        while checking.state.asked < asked + 6:
            assert hear(connection)["type"] == "next"
            assert next(stream)[0] == "next"
