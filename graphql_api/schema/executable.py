"""Query, Mutation and Subscription as one schema."""

import strawberry
from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from graphql_api.schema.mutation import Mutation
from graphql_api.schema.query import Query
from graphql_api.schema.resolvers import simplify
from graphql_api.schema.scalars import SCALARS
from graphql_api.schema.subscription import Subscription

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(scalar_map=SCALARS),
)


def executable() -> GraphQLSchema:
    """Return the schema as graphql-core executes it; Strawberry has no public name for it."""
    return simplify(schema._schema)
