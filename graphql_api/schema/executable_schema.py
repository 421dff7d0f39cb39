"""The executable schema: Query, Mutation and Subscription, with all scope checks."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import strawberry
from graphql import GraphQLSchema, is_enum_type
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

    The function runs once per process, because the functions that it calls modify the schema in place.
    """
    # `_schema` is private. requirements.lock pins the exact version of Strawberry; see docs/architecture.md.
    return enforce(use_direct_resolvers(declare_costs(_hide_suggestions(schema._schema))))


def _hide_suggestions(schema: GraphQLSchema) -> GraphQLSchema:
    """Let enums suggest no names for an unknown value of a variable.

    The executor hides suggestions, but graphql-core first coerces each value without this option, and then searches for
    suggestions: 80 ms for a value of 1 MB.
    """
    for kind in schema.type_map.values():
        if is_enum_type(kind):
            coerce = partial(_coerce, kind.coerce_input_value)
            kind.coerce_input_value = coerce  # type: ignore[method-assign]  # graphql-core has no option for this call
    return schema


def _coerce(coerce: Callable[[Any, bool], Any], value: Any, _hides_suggestions: bool = True) -> Any:
    return coerce(value, True)
