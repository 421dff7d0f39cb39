"""The definitions of fields and arguments that Strawberry has attached to the executable schema."""

from typing import Any

from graphql import GraphQLArgument, GraphQLField
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

_DEFINITION = GraphQLCoreConverter.DEFINITION_BACKREF


def definition_of(field: GraphQLField) -> StrawberryField | None:
    """Return the definition of a field, or None for a field of the introspection."""
    definition = field.extensions.get(_DEFINITION)
    return definition if isinstance(definition, StrawberryField) else None


def metadata_of(field: GraphQLField, key: str) -> object:
    """Return the value that the metadata of a field has for `key`, or None."""
    definition = definition_of(field)
    return None if definition is None else definition.metadata.get(key)


def python_name_of(argument: GraphQLArgument) -> str:
    """Return the name of the parameter that gets an argument."""
    definition: Any = argument.extensions[_DEFINITION]
    return str(definition.python_name)
