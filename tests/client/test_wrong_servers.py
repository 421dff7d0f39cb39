"""What a client does if its URL is not the one of a Dropzone server: it may be mistyped, or the server has moved."""

from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from dropzone import AsyncClient, Unavailable, UnexpectedResponse
from dropzone.sign_in.credentials import Credentials
from dropzone.transport import operations
from dropzone.transport.connection import Connection
from tests.aiohttp_server import serving

SAMPLE = {"time_stamp": "2026-05-01T00:00:00Z", "data": [1]}
STATUSES = [301, 302, 303, 307, 308]


class Redirecting:
    """A server that redirects all requests to another one, which counts them."""

    def __init__(self) -> None:
        self.status = 0
        self.followed = 0
        self.passwords: list[str | None] = []
        self.url = self.target = ""

    async def respond(self, request: web.Request) -> web.Response:
        """Redirect a request. Only the queries on `/for-websockets` are answered, as before a subscription."""
        self.passwords.append(request.headers.get("authorization"))
        if request.path.startswith("/for-websockets") and request.method == "POST":
            return web.json_response({"data": {"__typename": "Query"}})
        return web.Response(status=self.status, headers={"location": f"{self.target}{request.path}"}, text="moved")

    async def count(self, request: web.Request) -> web.Response:
        """Count a request that has followed a redirect."""
        del request
        self.followed += 1
        return web.json_response({"data": {"__typename": "Query"}})


@pytest.fixture
async def redirecting() -> AsyncIterator[Redirecting]:
    """Serve the server that redirects, and the one that it redirects to."""
    servers = Redirecting()
    apps = []
    for handler in (servers.respond, servers.count):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        apps.append(app)
    async with serving(apps[0]) as servers.url, serving(apps[1]) as servers.target:
        yield servers


@pytest.mark.parametrize("status", STATUSES)
async def test_a_redirect_gets_no_key(redirecting: Redirecting, status: int) -> None:
    """The key would reach any address that the server names, also over HTTP. The error names the address."""
    redirecting.status = status
    expected = f"^{redirecting.url} redirects to {redirecting.target}, and redirects are not followed"
    async with AsyncClient(redirecting.url, "dz_secret") as client:
        for call in (client.ping, client.whoami, client.summary, lambda: client.submit(SAMPLE)):
            with pytest.raises(UnexpectedResponse, match=expected):
                await call()
    websockets = f"{redirecting.url}/for-websockets"
    async with AsyncClient(websockets, "dz_secret") as client:
        with pytest.raises(UnexpectedResponse, match=f"^{websockets} redirects to {redirecting.target}/for-w"):
            await anext(client.watch(after="cursor"))

    assert redirecting.followed == 0


async def test_an_error_names_the_server_without_its_password(redirecting: Redirecting) -> None:
    """A proxy in front of a server can require a password. A log or a notebook keeps the messages of errors."""
    redirecting.status = 302
    with_password = redirecting.url.replace("//", "//bob:secret@")
    expected = f"^{redirecting.url} redirects to {redirecting.target}, and redirects are not followed"
    async with AsyncClient(with_password, "dz_any") as client:
        for call in (client.ping, client.whoami, lambda: anext(client.watch(after="cursor"))):
            with pytest.raises(UnexpectedResponse, match=expected):
                await call()
    with pytest.raises(ValueError, match="got 'localhost'"):
        AsyncClient("ftp://bob:secret@localhost", "dz_any")
    with pytest.raises(ValueError, match="expected a URL without a password"):
        AsyncClient(with_password, token="token")

    assert set(redirecting.passwords) == {"Basic " + b64encode(b"bob:secret").decode()}


@pytest.mark.parametrize("body", [b"<html>" + b"x" * 999, "für alle".encode("latin-1"), b"", b"5", b"[1]", b'{"a": 1}'])
async def test_a_response_that_is_not_graphql_is_not_retried(body: bytes) -> None:
    """A portal or a parked domain answers each request with a page. The error does not repeat the page."""
    requests = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        del request
        requests += 1
        return web.Response(body=body, content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    async with serving(app) as url, AsyncClient(url, "key") as client:
        for call in (client.summary, lambda: anext(client.watch())):
            with pytest.raises(UnexpectedResponse, match=f"^{url} responds, but not as a Dropzone server$"):
                await call()

    assert requests == 2


async def test_a_response_that_breaks_off_is_retried() -> None:
    """The server was killed, or the network has failed."""
    requests = 0

    async def respond(request: web.Request) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        whole = b'{"data": {"names": ["site"]}}'
        response = web.StreamResponse(headers={"content-length": str(len(whole))})
        await response.prepare(request)
        await response.write(whole if requests > 1 else whole[:9])
        if requests == 1 and request.transport is not None:
            request.transport.abort()
        return response

    app = web.Application()
    app.router.add_post("/graphql", respond)
    async with serving(app) as url, AsyncClient(url, "key") as client:
        assert await client.label_names() == ["site"]

    assert requests == 2


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_the_wait_that_a_gateway_requests_is_honored(status: int) -> None:
    """It is longer than the client retries, so each call sends one request. A subscription reports the wait too."""
    refused = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal refused
        if request.path.startswith("/for-websockets") and request.method == "POST":
            return web.json_response({"data": {"__typename": "Query"}})
        refused += 1
        return web.Response(status=status, headers={"retry-after": "3600"}, text="busy")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    async with serving(app) as url, AsyncClient(url, "key") as client:
        connection = Connection(f"{url}/for-websockets", Credentials("key", None))
        calls = (client.summary, client.whoami, lambda: client.submit(SAMPLE), lambda: anext(client.watch()))
        for call in (*calls, lambda: anext(connection.subscribe(operations.WATCH, {"after": None}))):
            with pytest.raises(Unavailable, match=f"HTTP status {status}") as error:
                await call()
            assert error.value.retry_after == 3600

    assert refused == 5
