"""The application knows who has sent the start of a request, before its connection is opened."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from graphql_api.app import create_app
from graphql_api.auth.api_keys import new_key
from graphql_api.configuration.limits import Limits
from graphql_api.configuration.settings import Settings
from graphql_api.graphql_server import Server
from tests.graphql_api.graphql_server.service import UNLIMITED_MIB, serving
from tests.stack import Stack


@pytest.fixture
def key(stack: Stack) -> str:
    """The key of the submitter `waits`."""
    return stack.new_key("waits")


@pytest.fixture
def client_of(stack: Stack, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], str]]:
    """The function of an application that has read the key."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    app = create_app(Settings(limits=Limits(max_memory_mib=UNLIMITED_MIB)))
    with serving(Server(app, app.state.budgets)) as (port, _):
        httpx.get(f"http://127.0.0.1:{port}/results", headers={"x-api-key": key}).raise_for_status()
        yield app.state.client_of


def test_a_key_that_was_read_names_its_submitter(client_of: Callable[[bytes], str], key: str) -> None:
    """It can be in each of the headers with a key. The request can be incomplete after the key."""
    for header in ("x-api-key: ", "X-API-Key:", "authorization: Bearer ", "Authorization:bearer  "):
        assert client_of(f"POST /samples HTTP/1.1\r\nhost: a\r\n{header}{key}\r\ncontent-le".encode()) == "waits"


def test_other_requests_belong_to_an_unknown_client(client_of: Callable[[bytes], str], key: str) -> None:
    """They wait with all other clients of their address."""
    for header in (f"x-api-key: {new_key()}\r\n", f"x-api-key: {key[:-1]}", f"x-other: {key}\r\n", "\xff\r\n", ""):
        assert client_of(f"POST /samples HTTP/1.1\r\nhost: a\r\n{header}".encode()) == ""


def test_probes_wait_in_a_queue_of_their_own(client_of: Callable[[bytes], str]) -> None:
    """Requests for other paths do not delay them."""
    assert client_of(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n") == "/healthz"
    assert client_of(b"GET /healthz/x HTTP/1.1\r\nhost: a\r\n\r\n") == ""
