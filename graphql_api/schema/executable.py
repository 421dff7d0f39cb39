"""The executable schema: Query, Mutation and Subscription, with all scope checks."""

from functools import cache

import strawberry
from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from graphql_api.schema.mutation import Mutation
from graphql_api.schema.query import Query
from graphql_api.schema.required_scopes import describe, enforce
from graphql_api.schema.resolvers import simplify
from graphql_api.schema.subscription import Subscription
from graphql_api.schema.types.scalars import SCALARS

for _root in (Query, Mutation, Subscription):
    describe(_root)

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(scalar_map=SCALARS),
)


@cache
def executable() -> GraphQLSchema:
    """Return the schema that graphql-core executes. It is cached because `enforce` changes it in place."""
    # A private interface of Strawberry, pinned exactly in requirements.lock; see docs/architecture.md.
    return enforce(simplify(schema._schema))
