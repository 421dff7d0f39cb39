"""A small service to try the transport with: a schema of its own, served over real sockets."""

import asyncio
import contextlib
import hashlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, NewType

import httpx
import msgspec
import orjson
import strawberry
from graphql import GraphQLSchema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from strawberry.schema.config import StrawberryConfig

from documents.errors import DropzoneError, NotFound, Unauthenticated, Unavailable
from graphql_api.transport import (
    GraphQLTransport,
    Server,
    ServerSettings,
    SharedEvent,
    TransportSettings,
    read_body,
)
from graphql_api.transport.http import refusal

KEY = "a-good-key"
OTHER_KEY = "another-good-key"
GRAPHQL_RESPONSE = "application/graphql-response+json"

RawSample = NewType("RawSample", object)
Picky = NewType("Picky", object)
Document = NewType("Document", bytes)
PRETTY = '{\n\n  "a": [1,\r\n\r\n 2],\r\r"b": "c\\n\\nd"\n}'


def _picky(value: object) -> object:
    raise ValueError(f"a secret of the scalar about {value}")


@dataclass
class State:
    """What the service was made to do."""

    submitted: list[bytes] = field(default_factory=list)
    context_error: Exception | None = None
    """What making a context fails with, while this is set."""
    watching: int = 0
    asked: int = 0
    """How often a context was asked for."""


state_key = "state"


def _bytes(sample: Any) -> bytes:
    assert isinstance(sample, msgspec.Raw), "a variable should arrive as it was sent"
    return bytes(memoryview(sample))


@strawberry.type
class Query:
    """Fields that do as they are named."""

    @strawberry.field
    def hello(self, name: str = "you") -> str:
        """Greet."""
        return f"hello {name}"

    @strawberry.field
    async def broken(self) -> str | None:
        """Fail in a way nobody expects."""
        raise RuntimeError("a secret of the server")

    @strawberry.field
    async def long_broken(self) -> str | None:
        """Fail with a very long message."""
        raise RuntimeError("long" * 250_000)

    @strawberry.field
    async def missing(self) -> str | None:
        """Fail on purpose."""
        raise NotFound("There is no such sample.")

    @strawberry.field
    async def down(self) -> str | None:
        """Fail because Firestore does."""
        raise Unavailable("Firestore does not answer.", retry_after=7)

    @strawberry.field
    async def slow(self, seconds: float) -> str:
        """Take some time."""
        await asyncio.sleep(seconds)
        return "done"

    @strawberry.field
    def surrogate(self) -> str:
        """Return what is no Unicode."""
        return "\ud800"

    @strawberry.field
    def picky(self, value: Picky) -> str:
        """Take a scalar that takes nothing."""
        return str(value)

    @strawberry.field
    def pretty(self) -> Document:
        """Return a document as somebody wrote it, on several lines."""
        return Document(PRETTY.encode())

    @strawberry.field
    def text(self, length: int) -> str:
        """Return much text."""
        return "x" * length


@strawberry.type
class Mutation:
    """Submissions."""

    @strawberry.mutation
    async def submit(self, info: strawberry.Info[Any, None], sample: RawSample) -> str:
        """Keep a sample; answer with the hash of its bytes."""
        raw = _bytes(sample)
        info.context[state_key].submitted.append(raw)
        return hashlib.sha256(raw).hexdigest()

    @strawberry.mutation
    async def submit_many(self, info: strawberry.Info[Any, None], samples: list[RawSample | None]) -> list[int | None]:
        """Keep samples; answer with their sizes."""
        kept = [None if sample is None else _bytes(sample) for sample in samples]
        info.context[state_key].submitted.extend(raw for raw in kept if raw is not None)
        return [None if raw is None else len(raw) for raw in kept]


@strawberry.type
class Story:
    """Something from which one can go on."""

    cursor: str
    text: str


class SharedStory(Story, SharedEvent):
    """A story that is the same for everybody."""


@strawberry.type
class Subscription:
    """Things to watch."""

    @strawberry.subscription
    async def count(self, info: strawberry.Info[Any, None], to: int, pause: float = 0) -> AsyncIterator[int]:
        """Count from 0."""
        state = info.context[state_key]
        state.watching += 1
        try:
            for number in range(to):
                yield number
                await asyncio.sleep(pause)
        finally:
            state.watching -= 1

    @strawberry.subscription
    async def text(self, info: strawberry.Info[Any, None], length: int) -> AsyncIterator[str]:
        """Yield much text for ever."""
        state = info.context[state_key]
        state.watching += 1
        try:
            while True:
                yield "x" * length
        finally:
            state.watching -= 1

    @strawberry.subscription
    async def stories(self, length: int) -> AsyncIterator[Story]:
        """Yield long stories, with cursors, for ever."""
        for number in itertools.count():
            yield SharedStory(cursor=str(number), text="x" * length)

    @strawberry.subscription
    async def failing(self, on_purpose: bool) -> AsyncIterator[int]:
        """Yield once, then fail."""
        yield 1
        raise NotFound("It is gone.") if on_purpose else RuntimeError("a secret of the source")


def make_schema() -> GraphQLSchema:
    """Return the schema as graphql-core knows it."""
    scalars: Any = {
        RawSample: strawberry.scalar(name="RawSample", serialize=lambda value: value, parse_value=lambda value: value),
        Picky: strawberry.scalar(name="Picky", serialize=str, parse_value=_picky),
        Document: strawberry.scalar(name="Document", serialize=orjson.Fragment),
    }
    schema = strawberry.Schema(Query, Mutation, Subscription, config=StrawberryConfig(scalar_map=scalars))
    return schema._schema


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
            return Response(str(len(await read_body(request, settings.largest_body, settings))))
        except DropzoneError as error:
            return refusal(error)

    transport = GraphQLTransport(make_schema(), context, settings, page)
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
