"""Scope checks: each field of the schema checks the scope that it declares.

Every root field (a field of Query, Mutation or Subscription) declares a scope with `metadata=requires(...)`. A query
reaches a nested field only through a root field, and therefore only if the caller has the scope of the root field. A
nested field can declare an additional scope, but no nested field of the schema does. A caller without the scope `read`
can therefore read fields of a sample, but only of the sample that it submits with `submit`.

If a root field declares no scope, `enforce` raises `TypeError`, and the API does not start.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Any

from graphql import GraphQLField, GraphQLResolveInfo, GraphQLSchema, default_field_resolver, is_object_type
from strawberry.types import get_object_definition

from graphql_api.auth.caller import missing_scope
from graphql_api.schema.strawberry_definitions import metadata_of
from graphql_api.scopes import Scope
from storage.documents import Forbidden

_METADATA_KEY = "required_scope"

Resolver = Callable[..., Any]


def requires(scope: Scope) -> dict[str, Scope]:
    """Return the metadata of a field that requires `scope`."""
    return {_METADATA_KEY: scope}


def required_scope(field: GraphQLField) -> Scope | None:
    """Return the scope that `field` declares, or None."""
    scope = metadata_of(field, _METADATA_KEY)
    return scope if isinstance(scope, Scope) else None


def describe(root: type) -> None:
    """Add the required scope to the description of each field of a Strawberry type."""
    for field in get_object_definition(root, strict=True).fields:
        scope = field.metadata.get(_METADATA_KEY)
        if isinstance(scope, Scope):
            field.description = f"{field.description} Requires the scope `{scope}`."


def enforce(schema: GraphQLSchema) -> GraphQLSchema:
    """Make each field check the scope that it declares. Returns the schema.

    Raises `TypeError` if a root field declares no scope.
    """
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    for kind in schema.type_map.values():
        if not is_object_type(kind):
            continue
        for name, field in kind.fields.items():
            scope = required_scope(field)
            if scope is None:
                if kind in roots:
                    raise TypeError(f"the field {kind.name}.{name} declares no scope: add metadata=requires(...)")
            elif kind is schema.subscription_type:
                field.subscribe = _check_before_subscribing(scope, field.subscribe or default_field_resolver)
            else:
                field.resolve = _check_before_resolving(scope, field.resolve or default_field_resolver)
    return schema


def _check_before_resolving(scope: Scope, resolve: Resolver) -> Resolver:
    def check_and_resolve(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        caller = info.context.caller
        if scope not in caller.scopes:
            raise missing_scope(scope, caller)
        return resolve(source, info, **arguments)

    return check_and_resolve


def _check_before_subscribing(scope: Scope, subscribe: Resolver) -> Resolver:
    def check_and_subscribe(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        caller = info.context.caller
        if scope not in caller.scopes:
            return _failed_stream(missing_scope(scope, caller))
        return subscribe(source, info, **arguments)

    return check_and_subscribe


async def _failed_stream(error: Forbidden) -> AsyncGenerator[object, None]:
    """Raise `error` instead of the first event. The subscription then ends with an error of the whole operation."""
    raise error
    yield
