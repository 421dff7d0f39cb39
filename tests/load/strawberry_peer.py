"""A baseline: the same mutation by Strawberry and AsyncClient alone, as their documentation shows.

It has no API keys, no validation beyond GraphQL's types and no limits: all of that is in its favour.
"""

import strawberry
from google.cloud.firestore import AsyncClient
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL

database = AsyncClient()


@strawberry.input
class SampleInput:
    """What is submitted."""

    time_stamp: str
    data: list[float]


@strawberry.type
class Receipt:
    """What is answered."""

    id: strawberry.ID
    state: str


@strawberry.type
class Query:
    """GraphQL wants one."""

    @strawberry.field
    def ready(self) -> bool:
        """Answer."""
        return True


@strawberry.type
class Mutation:
    """The one thing to do, and its costs without Firestore."""

    @strawberry.mutation
    async def submit(self, sample: SampleInput) -> Receipt:
        """Store a sample."""
        document = {"time_stamp": sample.time_stamp, "data": sample.data}
        _, reference = await database.collection("samples").add(document)
        return Receipt(id=strawberry.ID(reference.id), state="PENDING")

    @strawberry.mutation
    def check(self, sample: SampleInput) -> int:
        """Read a sample and store nothing: a large one is more than a document may hold."""
        return len(sample.data)


app = Starlette(routes=[Route("/graphql", GraphQL(strawberry.Schema(Query, Mutation)))])
