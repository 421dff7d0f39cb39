"""Every root field of the schema and every HTTP endpoint, with every kind of credential.

The fields and endpoints are those of the running code, so a new one is tested without a change here.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations

import httpx
import pytest
from graphql import OperationType
from starlette.routing import Route

from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.scopes import Scope
from graphql_api.auth.secret_text import digest, new_secret
from graphql_api.auth.sessions import SESSION_PREFIX
from graphql_api.schema.required_scopes import required_scope
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
    """Yield the response to an operation with each root field."""
    for (operation, name), field in ROOT_FIELDS.items():
        accept = "text/event-stream" if operation is OperationType.SUBSCRIPTION else "application/json"
        body = {"query": document_of(operation, name, field)}
        response = client.post("/graphql", json=body, headers={**headers, "accept": accept})
        yield f"{operation.value} {name}", required_scope(field), response


def routes(client: httpx.Client, headers: Mapping[str, str]) -> Iterator[tuple[str, Scope | None, httpx.Response]]:
    """Yield the response of each endpoint that requires a scope."""
    for endpoint in ENDPOINTS:
        if endpoint.scope is None:
            continue
        assert isinstance(endpoint.route, Route)
        path = endpoint.route.path_format.replace("{id}", UNKNOWN_ID)
        for method in sorted(endpoint.route.methods or ()):
            yield f"{method} {path}", endpoint.scope, client.request(method, path, headers=headers)


def test_no_other_credential_opens_anything(stack: Stack) -> None:
    """Each field and endpoint responds with 401, and the body has nothing but the error."""
    opened = []
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        for kind, headers in refused_credentials(stack).items():
            for name, _, response in (*fields(client, headers), *routes(client, headers)):
                if response.status_code != 401 or "data" in response.text.split('"errors"')[0]:
                    opened.append((kind, name, response.status_code))

    assert opened == []


SCOPE_SETS = [frozenset(each) for size in (0, 1, len(Scope)) for each in combinations(Scope, size)]


def opened_and_expected(
    stack: Stack, headers: Mapping[str, str], scopes: frozenset[Scope]
) -> tuple[Mapping[str, bool], Mapping[str, bool]]:
    """Return whether each field and endpoint is open to a valid credential, and whether it should be."""
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        of_fields, of_routes = list(fields(client, headers)), list(routes(client, headers))
    opened = {name: list(error_codes(response)) != ["FORBIDDEN"] for name, _, response in of_fields}
    opened |= {name: response.status_code not in (401, 403) for name, _, response in of_routes}
    return opened, {name: scope in scopes for name, scope, _ in (*of_fields, *of_routes)}


@pytest.mark.parametrize("scopes", SCOPE_SETS, ids=lambda scopes: "-".join(sorted(scopes)) or "none")
def test_a_session_opens_exactly_what_its_scopes_open(stack: Stack, scopes: frozenset[Scope]) -> None:
    """Like the key for which it stands."""
    headers = {"cookie": cookie(stack, store(stack, scopes)), "origin": stack.url}

    opened, expected = opened_and_expected(stack, headers, scopes)

    assert opened == expected


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
    headers = {"x-api-key": store(stack, frozenset(scopes)), "x-submitter": "another"}

    opened, expected = opened_and_expected(stack, headers, frozenset(opens))

    assert opened == expected
