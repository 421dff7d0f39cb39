"""Pages of other origins: those that the operator allows may use the API, without the session of a user."""

from collections.abc import Iterator, Mapping

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from graphql_api.endpoints.middleware.cross_origin import EXPOSED_HEADERS
from tests.another_api import AnotherApi
from tests.stack import Stack

ALLOWED = "https://lab.example:8443"
OTHERS = ["https://lab.example", "http://lab.example:8443", "https://evil.lab.example:8443", "null"]
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 3]}
QUERY = {"query": "{ __typename }"}


@pytest.fixture(scope="module")
def open_stack(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API that allows origins, which the operator has written with capitals and with a default port."""
    settings = {"DROPZONE_ALLOWED_ORIGINS": "https://Lab.Example:8443, https://other.example:443"}
    with AnotherApi(stack, tmp_path_factory.mktemp("open"), **settings) as api:
        yield api


def preflight(stack: Stack, path: str, method: str, headers: str = "", origin: str = ALLOWED) -> httpx.Response:
    """Ask for permission, as a browser does."""
    asked = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers}
    return httpx.options(stack.url + path, headers={name: value for name, value in asked.items() if value})


def permissions(response: httpx.Response) -> Mapping[str, str]:
    """Return the headers that give permissions."""
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-allow-")}


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/graphql", "POST", "content-type,x-api-key"),
        ("/samples", "POST", "content-type,content-encoding,idempotency-key,x-api-key,x-label-site"),
        ("/samples/1", "DELETE", "authorization"),
        ("/results", "GET", "authorization"),
    ],
)
def test_a_preflight_request_of_an_allowed_origin_succeeds(
    open_stack: Stack, path: str, method: str, headers: str
) -> None:
    """It needs no credential. The permission is for this origin, and not for cookies."""
    response = preflight(open_stack, path, method, headers)

    assert response.status_code == 200
    allowed = permissions(response)
    assert allowed["access-control-allow-origin"] == ALLOWED
    assert method in allowed["access-control-allow-methods"].split(", ")
    assert allowed["access-control-allow-headers"] == headers
    assert "access-control-allow-credentials" not in allowed
    assert "Origin" in response.headers["vary"]
    assert response.headers["x-request-id"]


def test_an_origin_is_allowed_as_browsers_send_it(open_stack: Stack) -> None:
    """Browsers leave out the default port, with which the operator has written the origin."""
    response = preflight(open_stack, "/samples", "POST", "x-api-key", "https://other.example")

    assert permissions(response)["access-control-allow-origin"] == "https://other.example"


def test_a_script_of_an_allowed_origin_reads_responses_and_their_headers(open_stack: Stack) -> None:
    """Also those of refusals, and of GraphQL."""
    headers = {"origin": ALLOWED, "x-api-key": open_stack.key}
    stored = httpx.post(f"{open_stack.url}/samples", json=SAMPLE, headers=headers)
    queried = httpx.post(f"{open_stack.url}/graphql", json=QUERY, headers=headers)
    refused = httpx.post(f"{open_stack.url}/samples", json=SAMPLE, headers={"origin": ALLOWED})
    missing = httpx.get(f"{open_stack.url}/missing", headers=headers)

    responses = [stored, queried, refused, missing]
    assert [response.status_code for response in responses] == [201, 200, 401, 404]
    for response in responses:
        assert permissions(response) == {"access-control-allow-origin": ALLOWED}
        assert response.headers["access-control-expose-headers"] == ", ".join(EXPOSED_HEADERS)
        assert "Origin" in response.headers["vary"]
    exposed = {name.lower() for name in EXPOSED_HEADERS}
    assert {"location", "ratelimit", "ratelimit-policy", "x-request-id"} <= exposed & set(stored.headers)
    assert "www-authenticate" in exposed & set(refused.headers)


@pytest.mark.parametrize("origin", OTHERS)
def test_a_script_of_another_origin_reads_nothing(open_stack: Stack, origin: str) -> None:
    """Scheme, host and port count. Its preflight requests fail, so the browser sends no key."""
    asked = preflight(open_stack, "/samples", "POST", "x-api-key", origin)
    read = httpx.get(f"{open_stack.url}/session", headers={"origin": origin, "x-api-key": open_stack.key})

    assert asked.status_code == 400
    assert "access-control-allow-origin" not in asked.headers
    assert permissions(read) == {}


def test_a_script_of_an_allowed_origin_opens_a_websocket(open_stack: Stack) -> None:
    """Other origins get 403."""
    url, protocols = f"{open_stack.url.replace('http', 'ws')}/graphql", [Subprotocol("graphql-transport-ws")]

    with connect(url, origin=Origin(ALLOWED), subprotocols=protocols) as socket:
        assert socket.subprotocol == protocols[0]
    for origin in OTHERS:
        with pytest.raises(InvalidStatus, match="403"), connect(url, origin=Origin(origin), subprotocols=protocols):
            pass


def test_the_session_of_a_user_is_not_usable_from_an_allowed_origin(open_stack: Stack) -> None:
    """The cookie does not count there, also not with the header of our pages, and no session can start or end."""
    url = open_stack.url
    with httpx.Client() as browser:
        browser.post(f"{url}/session", headers={"x-api-key": open_stack.key})
        page = {"origin": ALLOWED, "x-requested-with": "dropzone", "sec-fetch-site": "same-site"}

        assert browser.get(f"{url}/session", headers=page).json()["submitter"] is None
        assert browser.post(f"{url}/graphql", json=QUERY, headers=page).status_code == 401
        assert browser.get(f"{url}/results", headers=page).status_code == 401
        assert browser.post(f"{url}/session", headers=page | {"x-api-key": open_stack.key}).status_code == 403
        cookies = dict(browser.cookies)
        browser.delete(f"{url}/session", headers=page)

        own = {"origin": url, "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        assert httpx.post(f"{url}/graphql", json=QUERY, headers=own).json() == {"data": {"__typename": "Query"}}


def test_without_the_setting_no_origin_is_allowed(stack: Stack) -> None:
    """Requests pass no CORS code then, so a preflight request is an unsupported method."""
    assert preflight(stack, "/results", "GET").status_code == 405
    read = httpx.get(f"{stack.url}/session", headers={"origin": ALLOWED, "x-api-key": stack.key})
    assert not any(name.startswith("access-control-") for name in read.headers)
