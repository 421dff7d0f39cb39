"""A baseline: the same mutation by Strawberry and AsyncClient alone, as their documentation shows.

It has no API keys, no limits and no validation beyond GraphQL types, which favors it.
"""

import strawberry
from google.cloud.firestore import AsyncClient
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL

database = AsyncClient()


@strawberry.input
class SampleInput:
    """A submitted sample."""

    time_stamp: str
    data: list[float]


@strawberry.type
class Receipt:
    """A receipt."""

    id: strawberry.ID
    state: str


@strawberry.type
class Query:
    """A schema requires a query type."""

    @strawberry.field
    def ready(self) -> bool:
        """Return a constant."""
        return True


@strawberry.type
class Mutation:
    """`submit`, and `check`, which measures its cost without Firestore."""

    @strawberry.mutation
    async def submit(self, sample: SampleInput) -> Receipt:
        """Store a sample."""
        document = {"time_stamp": sample.time_stamp, "data": sample.data}
        _, reference = await database.collection("samples").add(document)
        return Receipt(id=strawberry.ID(reference.id), state="PENDING")

    @strawberry.mutation
    def check(self, sample: SampleInput) -> int:
        """Parse a sample and store nothing: a large one does not fit into a document."""
        return len(sample.data)


app = Starlette(routes=[Route("/graphql", GraphQL(strawberry.Schema(Query, Mutation)))])
