"""A small service to try the transport with: the example, served over real sockets."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from graphql_api.graphql_server import Capacity, GraphQLTransport, Server, ServerSettings, TransportSettings, read_body
from graphql_api.graphql_server.protocols.http import refusal
from storage.documents.errors import DropzoneError, Unauthenticated
from tests.graphql_api.graphql_server.example import State, make_schema, state_key

KEY = "a-good-key"
OTHER_KEY = "another-good-key"
GRAPHQL_RESPONSE = "application/graphql-response+json"


class Duplex:
    """Answers while it still reads, and more than any socket holds."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and read the body to its end."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        answer = {"type": "http.response.body", "body": bytes(12_000_000), "more_body": True}
        sending = asyncio.ensure_future(send(answer))
        while (await receive()).get("more_body"):
            pass
        await sending
        await send({"type": "http.response.body"})


@dataclass
class Service:
    """A running service and a client of it."""

    port: int
    client: httpx.Client
    stranger: httpx.Client
    """A client without a key."""
    state: State
    server: Server
    thread: threading.Thread

    @property
    def url(self) -> str:
        """Where GraphQL is."""
        return f"http://127.0.0.1:{self.port}/graphql"

    def post(self, query: str, variables: object = None, **headers: str) -> httpx.Response:
        """Ask over HTTP as a current client does."""
        body = {"query": query} if variables is None else {"query": query, "variables": variables}
        return self.client.post("/graphql", json=body, headers={"accept": GRAPHQL_RESPONSE, **headers})

    def raw(self, body: bytes, **headers: str) -> httpx.Response:
        """Send bytes as a JSON request."""
        return self.client.post("/graphql", content=body, headers={"content-type": "application/json", **headers})

    def stop(self) -> float:
        """Stop the server; return how long that took."""
        began = time.monotonic()
        self.server.should_exit = True
        self.thread.join(timeout=20)
        return time.monotonic() - began


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of the first error."""
    return response.status_code, response.json()["errors"][0]["extensions"]["code"]


@contextlib.contextmanager
def running(
    settings: TransportSettings = TransportSettings(),  # noqa: B008 (frozen)
    server_settings: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
) -> Iterator[Service]:
    """Serve on a free port, in a thread with a loop of its own, as in production."""
    state = State()

    async def context(credential: str | None) -> dict[str, object]:
        state.asked += 1
        if state.context_error is not None:
            raise state.context_error
        if credential not in (KEY, OTHER_KEY):
            raise Unauthenticated("Give a good key." if credential is None else "This key is not known.")
        return {state_key: state, "credential": credential}

    async def page(request: Request) -> Response:
        return HTMLResponse("<h1>GraphiQL</h1>")

    async def upload(request: Request) -> Response:
        try:
            return Response(str(len(await read_body(request, settings.max_body_bytes, settings))))
        except DropzoneError as error:
            return refusal(error)

    transport = GraphQLTransport(make_schema(), context, settings, page, Capacity(8 * settings.max_body_bytes))
    routes = [Route("/upload", upload, methods=["POST"]), Route("/duplex", Duplex(), methods=["POST"])]
    app = Starlette(routes=[*transport.routes, *routes])
    server = Server(app, port=0, settings=server_settings, on_shutdown=transport.close)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        headers = {"x-api-key": KEY}
        address = f"http://127.0.0.1:{port}"
        with (
            httpx.Client(base_url=address, headers=headers, timeout=30) as client,
            httpx.Client(base_url=address, timeout=30) as stranger,
        ):
            yield Service(port, client, stranger, state, server, thread)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the server should stop"
