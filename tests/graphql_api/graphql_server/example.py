"""An example of a schema, with a field for everything that a transport has to carry."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NewType

import msgspec
import orjson
import strawberry
from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from graphql_api.graphql_server import SharedEvent
from storage.documents.errors import NotFound, Unavailable

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
