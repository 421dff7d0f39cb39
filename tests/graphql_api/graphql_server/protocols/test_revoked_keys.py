"""Streams and WebSockets end when their API key is revoked, with or without events in progress."""

from collections.abc import Iterator

import pytest

from graphql_api.graphql_server import GraphQLSettings
from storage.documents.errors import Unauthenticated, Unavailable
from tests.graphql_api.graphql_server.clients import (
    closed,
    initialized,
    receive,
    send,
    subscribe,
    subscribed,
    wait_until_no_subscriptions,
)
from tests.graphql_api.graphql_server.service import Service, running

IDLE = "subscription { count(to: 2, pause: 60) }"
BUSY = "subscription { count(to: 1000000, pause: 0.01) }"
FIRST = {"data": {"count": 0}}


@pytest.fixture(scope="module")
def checking_service() -> Iterator[Service]:
    """Serve, and check credentials often."""
    with running(GraphQLSettings(credential_check_seconds=0.1)) as service:
        yield service


@pytest.fixture
def checking(checking_service: Service) -> Iterator[Service]:
    """Return the service, and make all keys valid again afterwards."""
    yield checking_service
    checking_service.state.authentication_error = None


def revoke(service: Service) -> None:
    """Make all keys invalid."""
    service.state.authentication_error = Unauthenticated("this key was revoked")


@pytest.mark.parametrize("query", [IDLE, BUSY])
def test_a_websocket_is_closed_after_its_key_is_revoked(checking: Service, query: str) -> None:
    """The close code is that of a refused credential."""
    with initialized(checking) as connection:
        send(connection, subscribe(query))
        assert receive(connection)["payload"] == FIRST
        revoke(checking)

        assert closed(connection) == (4403, "UNAUTHENTICATED: this key was revoked")
    wait_until_no_subscriptions(checking)


@pytest.mark.parametrize("query", [IDLE, BUSY])
def test_a_stream_ends_with_the_error_and_complete(checking: Service, query: str) -> None:
    """It ends like a stream that fails for another reason."""
    with subscribed(checking, query) as stream:
        assert [next(stream) for _ in range(2)] == [(":", None), ("next", FIRST)]
        revoke(checking)
        *_, (event, data), end = stream

    assert isinstance(data, dict)
    assert (event, data["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
    assert end == ("complete", None)
    wait_until_no_subscriptions(checking)


def test_subscriptions_continue_while_keys_cannot_be_checked(checking: Service) -> None:
    """An outage of Firestore does not end the subscriptions."""
    with initialized(checking) as connection, subscribed(checking, BUSY) as stream:
        send(connection, subscribe(BUSY))
        receive(connection), next(stream)
        calls = checking.state.authentications
        checking.state.authentication_error = Unavailable("Firestore does not respond")
        while checking.state.authentications < calls + 6:
            assert receive(connection)["type"] == "next"
            assert next(stream)[0] == "next"
