"""Sessions of browsers: what starts and ends one, and that no page of another site can use it."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from graphql_api.auth.secret_text import digest
from storage.documents import document_paths
from tests.stack import SUBMIT, Stack, eventually

SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}
MUTATION = {"query": SUBMIT, "variables": {"sample": SAMPLE}}


@pytest.fixture
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """A client that is signed in and sends the headers of a page of this server."""
    with httpx.Client(base_url=stack.url, headers={"origin": stack.url}, timeout=60) as client:
        assert client.post("/session", headers={"x-api-key": stack.key}).status_code == 201
        yield client


def link_token(stack: Stack) -> str:
    """Return the token of a new sign-in link of the local key."""
    return new_link(stack, stack.key_file)


def new_link(stack: Stack, file: Path) -> str:
    """Return the token of a new sign-in link of the key in a file."""
    link = stack.keys("sign-in-link", "--file", str(file)).strip()
    match = re.fullmatch(rf"{re.escape(stack.url)}/#sign-in=(\S{{43}})", link)
    assert match
    return match[1]


def test_the_cookie_is_hidden_from_scripts_and_other_sites_and_expires(stack: Stack) -> None:
    """Its name contains the port, because browsers send cookies to all ports of a host."""
    response = httpx.post(f"{stack.url}/session", headers={"x-api-key": stack.key})

    name, *attributes = response.headers["set-cookie"].split("; ")
    assert name.startswith(f"dropzone_session_{stack.api_port}=dzs_")
    [max_age] = [each for each in attributes if each.startswith("Max-Age=")]
    assert 43_100 < int(max_age.removeprefix("Max-Age=")) <= 12 * 3_600
    assert {each.lower() for each in attributes} - {max_age.lower()} == {"httponly", "path=/", "samesite=strict"}
    assert response.json() | {"expires": ""} == {
        "submitter": "local",
        "scopes": ["admin", "read", "submit"],
        "expires": "",
    }
    assert response.headers["cache-control"] == "no-store"


def test_a_session_opens_what_its_key_opens(stack: Stack, browser: httpx.Client) -> None:
    """It works for queries, mutations and files."""
    receipt = browser.post("/graphql", json=MUTATION).json()["data"]["submit"]

    assert browser.get("/session").json()["submitter"] == "local"
    assert json.loads(browser.get(f"/samples/{receipt['id']}").content) == SAMPLE
    key = stack.new_key("reads-only", "read")
    with httpx.Client(base_url=stack.url, headers={"origin": stack.url}) as other:
        other.post("/session", headers={"x-api-key": key})
        assert other.get("/session").json()["scopes"] == ["read"]
        assert other.post("/graphql", json=MUTATION).json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert other.get(f"/samples/{receipt['id']}").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"origin": "https://evil.example"}, id="another site"),
        pytest.param({"origin": "http://127.0.0.1:9"}, id="another port"),
        pytest.param({"origin": "null"}, id="a sandboxed frame"),
        pytest.param({"origin": ""}, id="an empty origin"),
        pytest.param({"sec-fetch-site": "cross-site"}, id="a link or a form"),
        pytest.param({"sec-fetch-site": "same-site"}, id="a page of another port"),
        pytest.param({"sec-fetch-site": "none"}, id="the address bar"),
        pytest.param({}, id="no header of a browser"),
        pytest.param({"origin": "https://evil.example", "x-requested-with": "dropzone"}, id="a header it cannot send"),
    ],
)
def test_a_request_of_another_origin_has_no_session(
    stack: Stack, browser: httpx.Client, headers: Mapping[str, str]
) -> None:
    """Even if a browser sends the cookie, the request counts as one without a credential: CSRF is impossible."""
    del browser.headers["origin"]

    responses = [
        browser.post("/graphql", json=MUTATION, headers=headers),
        browser.post("/samples", json=SAMPLE, headers=headers),
        browser.get("/graphql", params={"query": "{ __typename }"}, headers=headers),
        browser.get("/results", headers=headers),
    ]

    assert [response.status_code for response in responses] == [401] * 4
    assert browser.get("/session", headers=headers).json()["submitter"] is None
    assert browser.delete("/session", headers=headers).status_code == 200
    without_cookie = {"x-requested-with": "dropzone"}
    assert httpx.get(f"{stack.url}/session", headers=without_cookie).json()["submitter"] is None


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "same-origin"}, {"x-requested-with": "dropzone"}])
def test_a_page_of_this_server_has_its_session(browser: httpx.Client, headers: Mapping[str, str]) -> None:
    """Browsers send no `Origin` with a GET request to the same origin."""
    del browser.headers["origin"]

    assert browser.get("/session", headers=headers).json()["submitter"] == "local"


@pytest.mark.parametrize("site", ["https://evil.example", "http://127.0.0.1:9"])
async def test_a_websocket_of_another_origin_is_refused(stack: Stack, browser: httpx.Client, site: str) -> None:
    """A WebSocket needs no preflight request. One of this server's page needs no key in `connection_init`."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    url = f"{stack.url.replace('http', 'ws')}/graphql"

    protocols = [Subprotocol("graphql-transport-ws")]

    with pytest.raises(websockets.InvalidStatus, match="403"):
        await connect(url, subprotocols=protocols, additional_headers={"cookie": cookie, "origin": site})
    own = {"cookie": cookie, "origin": stack.url}
    async with connect(url, subprotocols=protocols, additional_headers=own) as socket:
        await socket.send('{"type": "connection_init"}')
        assert json.loads(await socket.recv())["type"] == "connection_ack"


def test_a_page_of_another_origin_cannot_sign_a_browser_in(stack: Stack) -> None:
    """Otherwise a user could submit samples to the attacker's account."""
    headers = {"x-api-key": stack.key, "origin": "https://evil.example"}

    response = httpx.post(f"{stack.url}/session", headers=headers)

    assert response.status_code == 403
    assert "set-cookie" not in response.headers


def test_a_link_starts_one_session(stack: Stack) -> None:
    """The second use and an unknown token are refused with the same message."""
    body = {"token": link_token(stack)}

    statuses = [httpx.post(f"{stack.url}/session", json=body).status_code for _ in range(2)]
    unknown = httpx.post(f"{stack.url}/session", json={"token": "unknown"})

    assert statuses == [201, 401]
    assert "was used or has expired" in unknown.json()["error"]["message"]


def test_an_expired_link_starts_no_session(stack: Stack) -> None:
    """Firestore deletes its token some days later."""
    token = link_token(stack)
    document = stack.firestore().document(document_paths.sign_in_token(digest(token)))
    document.update({"usable_until": datetime.now(UTC) - timedelta(hours=1)})

    assert httpx.post(f"{stack.url}/session", json={"token": token}).status_code == 401


def refusals(stack: Stack, *options: str) -> list[tuple[str, str]]:
    """Return the reason and the text of each refused sign-in in an audit log."""
    entries = map(json.loads, stack.keys("audit", "--first", "500", *options).splitlines())
    return [(each["reason"], each["details"]) for each in entries if each["action"] == "sign_in.refused"]


def test_a_used_or_expired_link_is_in_the_log_of_its_submitter_once_a_day(stack: Stack, tmp_path: Path) -> None:
    """However often it is sent. The entry says whose link others may know."""
    file = tmp_path / "api-key"
    file.write_text(key := stack.new_key("links", label="wall display"))
    used, expired = (new_link(stack, file) for _ in range(2))
    document = stack.firestore().document(document_paths.sign_in_token(digest(expired)))
    assert document.get().get("expires") > datetime.now(UTC) + timedelta(days=7)  # Firestore deletes it then
    document.update({"usable_until": datetime.now(UTC) - timedelta(hours=1)})

    statuses = [
        httpx.post(f"{stack.url}/session", json={"token": token}).status_code for token in (used, *[used, expired] * 3)
    ]

    assert statuses == [201, *[401] * 6]
    name = f'key {digest(key)[:12]} "wall display"'
    reasons = ["the sign-in link was already used", "the sign-in link has expired"]
    expected = {(reason, f"{name}: {reason}") for reason in reasons}
    eventually(lambda: set(refusals(stack, "--submitter", "links")) == expected)
    assert len(refusals(stack, "--submitter", "links")) <= 4  # twice if midnight is in between


def test_a_flood_of_unknown_links_adds_one_entry_to_the_log_of_the_operator(stack: Stack) -> None:
    """Anyone can send them."""
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        statuses = {client.post("/session", json={"token": f"unknown-{number}"}).status_code for number in range(150)}

    assert statuses <= {401, 429}
    unknown = "the sign-in link is unknown"
    eventually(lambda: (unknown, unknown) in refusals(stack))
    assert refusals(stack).count((unknown, unknown)) <= 2  # twice if midnight is in between


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 1}', b"\xff"])
def test_a_body_without_a_token_is_refused(stack: Stack, body: bytes) -> None:
    """The message says what the body must be."""
    response = httpx.post(f"{stack.url}/session", content=body, headers={"content-type": "application/json"})

    assert response.status_code == 400
    assert '{"token": "..."}' in response.json()["error"]["message"]


def test_a_form_of_another_site_cannot_use_a_link(stack: Stack) -> None:
    """A form can send `text/plain` without a preflight request."""
    body = json.dumps({"token": link_token(stack)})

    response = httpx.post(f"{stack.url}/session", content=body, headers={"content-type": "text/plain"})

    assert response.status_code == 415


def test_a_session_ends_when_its_user_signs_out(stack: Stack, browser: httpx.Client) -> None:
    """A copy of the cookie does not work any more either."""
    cookies = dict(browser.cookies)

    assert browser.delete("/session").status_code == 200

    with httpx.Client(base_url=stack.url, headers={"origin": stack.url}, cookies=cookies) as copy:
        assert copy.post("/graphql", json=MUTATION).status_code == 401
        ended = copy.get("/session")
    assert ended.json()["submitter"] is None
    assert "max-age=0" in ended.headers["set-cookie"].lower()


def test_signing_out_without_a_valid_session_writes_nothing(stack: Stack, browser: httpx.Client) -> None:
    """Otherwise a client without a credential could make the API write to Firestore, at any rate."""
    [secret] = browser.cookies.values()
    document = stack.firestore().document(document_paths.session(digest(secret)))
    document.update({"key_digest": digest("an unknown key")})

    response = browser.delete("/session")

    assert response.status_code == 200
    assert response.json()["submitter"] is None
    assert document.get().exists


def test_a_session_ends_with_its_key(stack: Stack) -> None:
    """It stands for the key, so revoking the key is enough."""
    key = stack.new_key("leaves")
    with httpx.Client(base_url=stack.url, headers={"origin": stack.url}) as browser:
        browser.post("/session", headers={"x-api-key": key})
        assert browser.get("/session").json()["submitter"] == "leaves"

        stack.keys("revoke", "--submitter", "leaves", "--yes")

        eventually(lambda: browser.get("/session").json()["submitter"] is None)


def test_a_session_starts_no_other_session(stack: Stack, browser: httpx.Client) -> None:
    """The other one would not end with the key."""
    [secret] = browser.cookies.values()

    for headers in ({"x-api-key": secret}, {"authorization": f"Bearer {secret}"}):
        response = httpx.post(f"{stack.url}/session", headers=headers)
        assert response.status_code == 400
        assert "set-cookie" not in response.headers


def test_a_session_ends_no_later_than_its_key_expires(stack: Stack) -> None:
    """The response says when."""
    key = stack.new_key("short", "read", "--expires-in-days", "0.1")

    response = httpx.post(f"{stack.url}/session", headers={"x-api-key": key})

    [seconds] = re.findall(r"Max-Age=(\d+)", response.headers["set-cookie"])
    assert 8_000 < int(seconds) <= 8_640


def test_a_proxy_on_this_machine_gives_nobody_a_key(stack: Stack) -> None:
    """A reverse proxy connects from loopback. The server infers nothing from the address of the client."""
    pages = [
        httpx.get(f"{stack.url}{path}", headers={"host": host, "accept": "text/html"}).text
        for path in ("/", "/graphql")
        for host in ("dropzone.example.org", "127.0.0.1", "localhost")
    ]

    assert not any("dz_" in page or "dzs_" in page for page in pages)


def test_the_stack_prints_a_link_that_works(stack: Stack) -> None:
    """It is new at every start."""
    eventually(lambda: "#sign-in=" in stack.log)
    [token] = re.findall(rf"{stack.url}/#sign-in=(\S{{43}})", stack.log)

    response = httpx.post(f"{stack.url}/session", json={"token": token})

    assert response.json()["submitter"] == "local"
