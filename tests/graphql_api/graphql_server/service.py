"""A small service for tests of the GraphQL server: the example schema, served over real sockets."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from graphql_api.budgets.allowance import Allowance
from graphql_api.budgets.budgets import Budgets, SubmitterBudget
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server import GraphQLEndpoint, GraphQLSettings, Server, ServerSettings
from graphql_api.graphql_server.protocols.http import refusal
from graphql_api.graphql_server.requests.request_body import read_body
from graphql_api.graphql_server.requests.request_headers import Credential
from storage.documents.errors import DropzoneError, Unauthenticated
from tests.graphql_api.budgets.sender import Sender
from tests.graphql_api.graphql_server.example import State, make_schema, state_key

KEY = "a-good-key"
OTHER_KEY = "another-good-key"
GRAPHQL_RESPONSE = "application/graphql-response+json"
UNLIMITED_MIB = 2**20
"""The memory of this process is that of all tests, not that of the service."""


class Duplex:
    """An ASGI application that sends a response larger than any socket buffer while it reads the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, and read the body to its end."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        event = {"type": "http.response.body", "body": bytes(12_000_000), "more_body": True}
        sending = asyncio.ensure_future(send(event))
        while (await receive()).get("more_body"):
            pass
        await sending
        await send({"type": "http.response.body"})


class ExampleContext(dict[str, object]):
    """The context of resolvers, with the budget of a submitter, and with an allowance of its own by default."""

    def __init__(self, budget: SubmitterBudget, values: dict[str, object], allowance: Allowance | None = None) -> None:
        super().__init__(values)
        self.budget = budget
        self.allowance = allowance or Allowance(Limits(), None)

    def end_reads(self, response_bytes: int = 0) -> None:
        """Do nothing: the operations of the example read no documents."""

    def check_response(self, byte_count: int) -> None:
        """Accept a response of any size."""

    def fields_with_documents(self) -> tuple[str, ...]:
        """Return no fields: the operations read no documents."""
        return ()

    @classmethod
    def of_somebody(cls) -> "ExampleContext":
        """Return the context of an operation that uses nothing yet."""
        return cls(Budgets(Limits()).submitter("somebody"), {})


@dataclass
class Service:
    """A running service and a client of it."""

    port: int
    client: httpx.Client
    anonymous: httpx.Client
    """A client without an API key."""
    state: State
    budgets: Budgets
    server: Server
    thread: threading.Thread

    @property
    def url(self) -> str:
        """The URL of the GraphQL endpoint."""
        return f"http://127.0.0.1:{self.port}/graphql"

    def post(self, query: str, variables: object = None, **headers: str) -> httpx.Response:
        """Send a request that accepts application/graphql-response+json."""
        body = {"query": query} if variables is None else {"query": query, "variables": variables}
        return self.client.post("/graphql", json=body, headers={"accept": GRAPHQL_RESPONSE, **headers})

    def raw(self, body: bytes, **headers: str) -> httpx.Response:
        """Send bytes as a JSON body."""
        return self.client.post("/graphql", content=body, headers={"content-type": "application/json", **headers})

    def stop(self) -> bool:
        """Stop the server. Tell whether it has stopped within a generous deadline."""
        self.server.should_exit = True
        self.thread.join(timeout=20)
        return not self.thread.is_alive()


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Return the status of a response and the code of its first error."""
    return response.status_code, response.json()["errors"][0]["extensions"]["code"]


@contextlib.contextmanager
def running(
    settings: GraphQLSettings = GraphQLSettings(),  # noqa: B008 (frozen)
    server_settings: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Iterator[Service]:
    """Serve on a free port, in a thread with its own event loop."""
    state = State()
    budgets = Budgets(replace(limits, max_memory_mib=UNLIMITED_MIB))

    async def authenticate(credential: Credential) -> ExampleContext:
        state.authentications += 1
        if state.authentication_error is not None:
            raise state.authentication_error
        if credential.key not in (KEY, OTHER_KEY):
            raise Unauthenticated("send an API key" if credential.key is None else "this API key is unknown")
        return ExampleContext(
            budgets.submitter(credential.key),
            {state_key: state, "credential": credential.key},
            budgets.allowance(Sender(credential.key)),
        )

    async def page(request: Request) -> Response:
        return HTMLResponse("<h1>GraphiQL</h1>")

    async def upload(request: Request) -> Response:
        try:
            return Response(str(len(await read_body(request, settings.max_body_bytes, settings))))
        except DropzoneError as error:
            return refusal(error)

    endpoint = GraphQLEndpoint(make_schema(), authenticate, settings, page, budgets.memory)
    routes = [Route("/upload", upload, methods=["POST"]), Route("/duplex", Duplex(), methods=["POST"])]
    app = Starlette(routes=[*endpoint.routes, *routes])
    server = Server(app, budgets, settings=server_settings, on_shutdown=endpoint.end_streams)
    headers = {"x-api-key": KEY}
    with serving(server) as (port, thread):
        address = f"http://127.0.0.1:{port}"
        with (
            httpx.Client(base_url=address, headers=headers, timeout=30) as client,
            httpx.Client(base_url=address, timeout=30) as anonymous,
        ):
            yield Service(port, client, anonymous, state, budgets, server, thread)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[tuple[int, threading.Thread]]:
    """Run a server in a thread. Yield its port and the thread."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while (port := server.port) is None and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert port is not None, "the server should start"
        yield port, thread
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the server should stop"
