"""Bodies of requests that wait: the application has not started to read them."""

import gc
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from graphql_api.budgets import parsing_turns
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server import Server, ServerSettings
from graphql_api.graphql_server.server import unparsed_data
from tests.graphql_api.graphql_server.service import UNLIMITED_MIB, serving

BODY = b"x" * 150_000
REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
MAX_EARLY_BYTES = 16 * 1024
MAX_BUFFERED_BYTES = 512 * 1024
"""asyncio receives at most 256 KiB at once. uvicorn stops to read when it has more than 64 KiB."""


class Application:
    """Responds with the size of the body, after `may_read` is set."""

    def __init__(self) -> None:
        self.has_started = threading.Event()
        self.may_read = threading.Event()
        self.port = 0

    async def respond(self, request: Request) -> Response:
        """Wait, read the body, and return its size."""
        self.has_started.set()
        await run_in_threadpool(self.may_read.wait, 20)
        return Response(str(len(await request.body())))

    async def respond_slowly(self, request: Request) -> Response:
        """Read the start of the body, wait, read the rest, and return the size of the body."""
        parts = request.stream()
        size = len(await anext(parts))
        self.has_started.set()
        await run_in_threadpool(self.may_read.wait, 20)
        return Response(str(size + sum([len(part) async for part in parts])))

    def connect(self) -> socket.socket:
        """Return a connection to the server."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture
def settings() -> ServerSettings:
    """Return the settings of the server."""
    return ServerSettings()


@pytest.fixture
def application(settings: ServerSettings) -> Iterator[Application]:
    """Serve the application on a free port."""
    application = Application()
    paths = {"/": application.respond, "/slowly": application.respond_slowly}
    app = Starlette(routes=[Route(path, endpoint, methods=["POST"]) for path, endpoint in paths.items()])
    budgets = Budgets(Limits(max_memory_mib=UNLIMITED_MIB))
    server = Server(app, budgets, settings=settings, on_shutdown=lambda: None)
    with serving(server) as (application.port, _):
        yield application
        application.may_read.set()


def ends_with(client: socket.socket, end: bytes) -> bool:
    """Return whether the data that the client receives ends with `end`. A response can arrive in parts."""
    data = b""
    while not data.endswith(end) and (part := client.recv(65536)):
        data += part
    return data.endswith(end)


def waiting_bodies() -> list[int]:
    """Return the size of the body of each request that has no response yet."""
    cycles = [each for each in gc.get_objects() if type(each) is RequestResponseCycle]  # not a proxy of another object
    return [len(cycle.body) for cycle in cycles if not cycle.response_complete]


def test_only_the_start_of_a_body_is_parsed_before_the_application_reads_it(application: Application) -> None:
    """Otherwise, the bodies of thousands of waiting requests would be in memory."""
    with application.connect() as client:
        client.sendall(REQUEST)
        assert application.has_started.wait(20)
        assert [size <= MAX_EARLY_BYTES for size in waiting_bodies()] == [True]

        application.may_read.set()

        assert ends_with(client, b"\r\n\r\n150000")


def test_a_chunked_body_is_not_read_faster_than_by_the_application(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if each part of it waits for a turn. Otherwise, a few clients would fill the memory."""
    monkeypatch.setattr(parsing_turns, "_MAX_SECONDS", 0)
    chunks = b"%x\r\n%b\r\n" % (len(BODY), BODY) * 20
    with application.connect() as client, application.connect() as other, ThreadPoolExecutor() as threads:
        client.sendall(b"POST /slowly HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        sending = threads.submit(client.sendall, chunks + b"0\r\n\r\n")
        assert application.has_started.wait(20)
        for _ in range(200):  # the server could read much of the body before it has responded to all of these
            other.sendall(b"HEAD /unknown HTTP/1.1\r\nhost: x\r\n\r\n")
            assert other.recv(65536).startswith(b"HTTP/1.1 404 ")
        assert max(waiting_bodies()) < MAX_BUFFERED_BYTES

        application.may_read.set()
        sending.result(20)

        assert ends_with(client, b"\r\n\r\n%d" % (20 * len(BODY)))


def test_a_body_is_refused_if_too_many_bodies_wait(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets an error and can send the request again."""
    monkeypatch.setattr(unparsed_data, "_MAX_BYTES", 0)
    with application.connect() as client:
        client.sendall(REQUEST)

        response = client.recv(65536)

        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: " in response
        assert b"UNAVAILABLE" in response


@pytest.mark.parametrize("settings", [ServerSettings(max_unread_body_bytes=1_000)])
@pytest.mark.parametrize("size", [1_000, 1_001])
def test_a_connection_serves_the_next_request_after_an_early_response(application: Application, size: int) -> None:
    """Even if its body ends in the data in which it becomes too long to be discarded."""
    application.may_read.set()
    with application.connect() as client:
        client.sendall(b"POST /unknown HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
        assert ends_with(client, b"\r\n\r\nNot Found")

        client.sendall(b"x" * size)
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")

        assert ends_with(client, b"\r\n\r\n3")


def test_a_connection_is_closed_after_an_early_response_if_the_client_wants_it(application: Application) -> None:
    """After the rest of the body has arrived."""
    head = b"POST /unknown HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n"
    with application.connect() as client:
        client.sendall(head)
        assert client.recv(65536).startswith(b"HTTP/1.1 404 ")

        client.sendall(b"x" * 1_000)

        while client.recv(65536):
            pass


def test_small_bodies_wait_even_then(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection may send a little."""
    monkeypatch.setattr(unparsed_data, "_MAX_BYTES", 0)
    application.may_read.set()
    with application.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10000\r\n\r\n" + b"x" * 10_000)

        assert ends_with(client, b"\r\n\r\n10000")


@pytest.mark.parametrize(
    "offer",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c",
        b"connection: upgrade\r\nupgrade:h2c ",
        b"Upgrade: TLS/1.2\r\nConnection: Upgrade",
    ],
)
@pytest.mark.parametrize("size", [0, 1, 10_000, 150_000])
def test_the_offer_of_http_2_or_tls_is_ignored(application: Application, offer: bytes, size: int) -> None:
    """Java's HttpClient offers HTTP/2, and Apache HttpClient offers TLS. The parser would ignore the body."""
    application.may_read.set()
    with application.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n%b\r\ncontent-length: %d\r\n\r\n%b" % (offer, size, b"x" * size))

        assert ends_with(client, b"\r\n\r\n%d" % size)
