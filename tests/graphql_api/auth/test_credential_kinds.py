"""Every root field of the schema over every protocol, and every HTTP endpoint, with every kind of credential.

The fields and endpoints are those of the running code, so a new one is tested without a change here.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations

import httpx
import pytest
from graphql import OperationType
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.secret_text import digest, new_secret
from graphql_api.auth.sessions import SESSION_PREFIX
from graphql_api.schema.required_scopes import required_scope
from graphql_api.scopes import Scope
from storage.documents import document_paths
from tests.graphql_api.auth.test_required_scopes import (
    ENDPOINTS,
    ROOT_FIELDS,
    UNKNOWN_ID,
    document_of,
    error_codes,
)
from tests.stack import Stack

NOW = datetime.now(UTC)
ALL_SCOPES = frozenset(Scope)
UNAUTHORIZED, FORBIDDEN = 4401, 4403


def store(
    stack: Stack,
    scopes: frozenset[Scope] = ALL_SCOPES,
    expires: datetime | None = None,
    revoked: datetime | None = None,
) -> str:
    """Return a stored key."""
    key = new_key()
    stored = ApiKey("kinds", scopes, "", NOW - timedelta(days=2), expires, revoked)
    stack.firestore().document(document_paths.api_key(digest(key))).set(stored.fields())
    return key


def cookie(stack: Stack, key: str) -> str:
    """Return the cookie of a new session of a key."""
    response = httpx.post(f"{stack.url}/session", headers={"x-api-key": key})
    return str(response.headers["set-cookie"]).partition(";")[0]


def refused_credentials(stack: Stack) -> Mapping[str, Mapping[str, str]]:
    """Return the headers of each kind of credential that opens nothing."""
    ended = cookie(stack, key := store(stack))
    httpx.delete(f"{stack.url}/session", headers={"cookie": ended, "origin": stack.url})
    other = cookie(stack, key)
    name = other.partition("=")[0]
    return {
        "none": {},
        "not a key": {"x-api-key": "wrong"},
        "another scheme": {"authorization": f"Basic {key}"},
        "unknown key": {"x-api-key": new_key()},
        "expired key": {"x-api-key": store(stack, expires=NOW - timedelta(days=1))},
        "revoked key": {"x-api-key": store(stack, revoked=NOW - timedelta(days=1))},
        "two keys": {"x-api-key": key, "authorization": f"Bearer {store(stack)}"},
        "token of an unknown provider": {"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
        "session without an origin": {"cookie": other},
        "session of another origin": {"cookie": other, "origin": "https://evil.example"},
        "ended session": {"cookie": ended, "origin": stack.url},
        "unknown session": {"cookie": f"{name}={new_secret(SESSION_PREFIX)}", "origin": stack.url},
        "key in a cookie of another name": {"cookie": f"session={key}", "origin": stack.url},
    }


def fields(client: httpx.Client, headers: Mapping[str, str]) -> Iterator[tuple[str, Scope | None, httpx.Response]]:
    """Yield the response to an operation with each root field, over HTTP and as an event stream."""
    for (operation, name), field in ROOT_FIELDS.items():
        body = {"query": document_of(operation, name, field)}
        for accept in ("application/json", "text/event-stream"):
            if operation is OperationType.SUBSCRIPTION and accept == "application/json":
                continue
            response = client.post("/graphql", json=body, headers={**headers, "accept": accept})
            yield f"{operation.value} {name} as {accept}", required_scope(field), response


def routes(client: httpx.Client, headers: Mapping[str, str]) -> Iterator[tuple[str, Scope | None, httpx.Response]]:
    """Yield the response of each endpoint that requires a scope."""
    for endpoint in ENDPOINTS:
        if endpoint.scope is None:
            continue
        assert isinstance(endpoint.route, Route)
        path = endpoint.route.path_format.replace("{id}", UNKNOWN_ID)
        for method in sorted(endpoint.route.methods or ()):
            yield f"{method} {path}", endpoint.scope, client.request(method, path, headers=headers)


@contextlib.contextmanager
def websocket(stack: Stack, headers: Mapping[str, str]) -> Iterator[ClientConnection]:
    """Open a WebSocket that is not initialized yet."""
    url, protocols = f"{stack.url.replace('http', 'ws')}/graphql", [Subprotocol("graphql-transport-ws")]
    with connect(url, subprotocols=protocols, additional_headers=headers, compression=None) as socket:
        yield socket


def fields_over_websocket(
    stack: Stack, headers: Mapping[str, str], payload: Mapping[str, str]
) -> Iterator[tuple[str, Scope | None, bool]]:
    """Yield whether each root field is open, over one WebSocket whose credential is in the headers or the payload."""
    with websocket(stack, headers) as socket:
        socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        try:
            is_acknowledged = json.loads(socket.recv(60)) == {"type": "connection_ack"}
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code != FORBIDDEN:
                raise
            is_acknowledged = False
        for (operation, name), field in ROOT_FIELDS.items():
            is_open = is_acknowledged and "FORBIDDEN" not in codes_over(socket, document_of(operation, name, field))
            yield f"{operation.value} {name} over a WebSocket", required_scope(field), is_open


def codes_over(socket: ClientConnection, document: str) -> list[str]:
    """Execute an operation over a WebSocket. Return the codes of its errors."""
    codes: list[str] = []
    socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": document}}))
    while (message := json.loads(socket.recv(60)))["type"] != "complete":
        # Errors of fields are in the `next` of a query or mutation. Request errors are the last message.
        is_last = message["type"] == "error"
        errors = message["payload"] if is_last else message["payload"].get("errors", [])
        codes += [error["extensions"]["code"] for error in errors]
        if is_last:
            break
    return codes


def test_no_other_credential_opens_anything(stack: Stack) -> None:
    """Each field and endpoint responds with 401, and the body has nothing but the error."""
    opened = []
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        for kind, headers in refused_credentials(stack).items():
            for name, _, response in (*fields(client, headers), *routes(client, headers)):
                if response.status_code != 401 or "data" in response.text.split('"errors"')[0]:
                    opened.append((kind, name, response.status_code))

    assert opened == []


def test_no_other_credential_opens_a_websocket(stack: Stack) -> None:
    """The WebSocket is denied, or closed before it is acknowledged. A key may be in the headers or in the payload."""
    ends = {}
    for kind, headers in refused_credentials(stack).items():
        in_payload = "cookie" not in headers
        for place in ("headers", "payload") if in_payload else ("headers",):
            ends[kind, place] = end_of_websocket(stack, headers, place)

    assert {kind: end for kind, end in ends.items() if end not in (401, 403, UNAUTHORIZED, FORBIDDEN)} == {}


def end_of_websocket(stack: Stack, headers: Mapping[str, str], place: str) -> object:
    """Return the status that denied a WebSocket, the code that closed it, or the message that it received."""
    payload = headers if place == "payload" else {}
    try:
        with websocket(stack, {} if payload else headers) as socket:
            socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            return socket.recv(60)
    except InvalidStatus as denied:
        return denied.response.status_code
    except ConnectionClosed as closed:
        return closed.rcvd and closed.rcvd.code


SCOPE_SETS = [frozenset(each) for size in (0, 1, len(Scope)) for each in combinations(Scope, size)]


def opened_and_expected(
    stack: Stack, headers: Mapping[str, str], scopes: frozenset[Scope]
) -> tuple[Mapping[str, bool], Mapping[str, bool]]:
    """Return whether each field and endpoint is open to a valid credential, and whether it should be."""
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        of_fields, of_routes = list(fields(client, headers)), list(routes(client, headers))
    of_sockets = list(fields_over_websocket(stack, headers, {}))
    opened = {name: list(error_codes(response)) != ["FORBIDDEN"] for name, _, response in of_fields}
    opened |= {name: response.status_code not in (401, 403) for name, _, response in of_routes}
    opened |= {name: is_open for name, _, is_open in of_sockets}
    return opened, {name: scope in scopes for name, scope, _ in (*of_fields, *of_routes, *of_sockets)}


@pytest.mark.parametrize("scopes", SCOPE_SETS, ids=lambda scopes: "-".join(sorted(scopes)) or "none")
def test_a_key_and_its_session_open_exactly_what_their_scopes_open(stack: Stack, scopes: frozenset[Scope]) -> None:
    """A WebSocket may also have the key in the payload of `connection_init`."""
    key = store(stack, scopes)
    session = {"cookie": cookie(stack, key), "origin": stack.url}

    for headers in ({"x-api-key": key}, session):
        opened, expected = opened_and_expected(stack, headers, scopes)
        assert opened == expected

    of_payload = list(fields_over_websocket(stack, {}, {"x-api-key": key}))
    assert {name: is_open for name, _, is_open in of_payload} == {
        name: scope in scopes for name, scope, _ in of_payload
    }


@pytest.mark.parametrize(
    ("scopes", "opens"),
    [
        (ALL_SCOPES, {Scope.READ}),
        ({Scope.READ_ALL}, {Scope.READ}),
        (ALL_SCOPES - {Scope.READ_ALL}, set()),
    ],
    ids=["all", "read-all", "all but read-all"],
)
def test_the_name_of_another_submitter_opens_reading_only(
    stack: Stack, scopes: frozenset[Scope], opens: set[Scope]
) -> None:
    """The other scopes of the key do not matter. Without `read-all`, the name opens nothing."""
    key = store(stack, frozenset(scopes))
    session = {"cookie": cookie(stack, key), "origin": stack.url}

    for headers in ({"x-api-key": key}, session):
        opened, expected = opened_and_expected(stack, {**headers, "x-submitter": "another"}, frozenset(opens))
        assert opened == expected
