"""An example schema, with a field for each behavior that the GraphQL server has to handle."""

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
    """What the tests observe and change."""

    submitted: list[bytes] = field(default_factory=list)
    authentication_error: Exception | None = None
    """While set, authentication raises this error."""
    subscriptions: int = 0
    """The number of open subscriptions."""
    authentications: int = 0
    """The number of times that a credential was validated."""


state_key = "state"


def _bytes(sample: Any) -> bytes:
    assert isinstance(sample, msgspec.Raw), "expected the variable as it was sent"
    return bytes(memoryview(sample))


@strawberry.type
class Query:
    """Fields that behave as their names say."""

    @strawberry.field
    def hello(self, name: str = "you") -> str:
        """Greet."""
        return f"hello {name}"

    @strawberry.field
    async def broken(self) -> str | None:
        """Raise an unexpected error."""
        raise RuntimeError("a secret of the server")

    @strawberry.field
    async def long_broken(self) -> str | None:
        """Raise an unexpected error with a very long message."""
        raise RuntimeError("long" * 250_000)

    @strawberry.field
    async def missing(self) -> str | None:
        """Raise an error that clients see."""
        raise NotFound("the sample does not exist")

    @strawberry.field
    async def down(self) -> str | None:
        """Raise an error as if Firestore were unavailable."""
        raise Unavailable("Firestore does not respond", retry_after=7)

    @strawberry.field
    async def slow(self, seconds: float) -> str:
        """Wait for some time."""
        await asyncio.sleep(seconds)
        return "done"

    @strawberry.field
    def surrogate(self) -> str:
        """Return text that cannot be encoded."""
        return "\ud800"

    @strawberry.field
    def picky(self, value: Picky) -> str:
        """Take a scalar that rejects every value."""
        return str(value)

    @strawberry.field
    def pretty(self) -> Document:
        """Return JSON that has line breaks."""
        return Document(PRETTY.encode())

    @strawberry.field
    def text(self, length: int) -> str:
        """Return text of some length."""
        return "x" * length


@strawberry.type
class Mutation:
    """Submissions."""

    @strawberry.mutation
    async def submit(self, info: strawberry.Info[Any, None], sample: RawSample) -> str:
        """Store a sample. Return the hash of its bytes."""
        raw = _bytes(sample)
        info.context[state_key].submitted.append(raw)
        return hashlib.sha256(raw).hexdigest()

    @strawberry.mutation
    async def submit_many(self, info: strawberry.Info[Any, None], samples: list[RawSample | None]) -> list[int | None]:
        """Store samples. Return their sizes."""
        raws = [None if sample is None else _bytes(sample) for sample in samples]
        info.context[state_key].submitted.extend(raw for raw in raws if raw is not None)
        return [None if raw is None else len(raw) for raw in raws]


@strawberry.type
class Story:
    """An event with a cursor."""

    cursor: str
    text: str


class SharedStory(Story, SharedEvent):
    """A story that is the same for every subscriber."""


@strawberry.type
class Subscription:
    """Sources of events."""

    @strawberry.subscription
    async def count(self, info: strawberry.Info[Any, None], to: int, pause: float = 0) -> AsyncIterator[int]:
        """Count from 0."""
        state = info.context[state_key]
        state.subscriptions += 1
        try:
            for number in range(to):
                yield number
                await asyncio.sleep(pause)
        finally:
            state.subscriptions -= 1

    @strawberry.subscription
    async def text(self, info: strawberry.Info[Any, None], length: int) -> AsyncIterator[str]:
        """Yield text of some length without end."""
        state = info.context[state_key]
        state.subscriptions += 1
        try:
            while True:
                yield "x" * length
        finally:
            state.subscriptions -= 1

    @strawberry.subscription
    async def stories(self, length: int) -> AsyncIterator[Story]:
        """Yield stories with cursors without end."""
        for number in itertools.count():
            yield SharedStory(cursor=str(number), text="x" * length)

    @strawberry.subscription
    async def slow_to_close(self) -> AsyncIterator[int]:
        """Yield once. Closing this source does not end."""
        try:
            yield 1
        finally:
            await asyncio.Event().wait()

    @strawberry.subscription
    async def failing(self, on_purpose: bool) -> AsyncIterator[int]:
        """Yield once, then raise an error."""
        yield 1
        raise NotFound("the source is gone") if on_purpose else RuntimeError("a secret of the source")


def make_schema() -> GraphQLSchema:
    """Return the schema for graphql-core."""
    scalars: Any = {
        RawSample: strawberry.scalar(name="RawSample", serialize=lambda value: value, parse_value=lambda value: value),
        Picky: strawberry.scalar(name="Picky", serialize=str, parse_value=_picky),
        Document: strawberry.scalar(name="Document", serialize=orjson.Fragment),
    }
    schema = strawberry.Schema(Query, Mutation, Subscription, config=StrawberryConfig(scalar_map=scalars))
    return schema._schema
