"""The executable schema: Query, Mutation and Subscription, with all scope checks."""

from functools import cache

import strawberry
from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from graphql_api.schema.costs import declare_costs
from graphql_api.schema.direct_resolvers import use_direct_resolvers
from graphql_api.schema.mutation import Mutation
from graphql_api.schema.query import Query
from graphql_api.schema.required_scopes import describe, enforce
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
def executable_schema() -> GraphQLSchema:
    """Return the schema that graphql-core executes.

    The function runs once per process, because `use_direct_resolvers` and `enforce` modify the schema in place.
    """
    # `_schema` is private. requirements.lock pins the exact version of Strawberry; see docs/architecture.md.
    return enforce(use_direct_resolvers(declare_costs(schema._schema)))
