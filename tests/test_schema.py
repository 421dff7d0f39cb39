"""The published contract."""

import json
import re
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    build_schema,
    parse,
    validate,
)

from graphql_api.schema.executable_schema import schema

PUBLISHED = Path("schema.graphql").read_text()


def test_the_published_schema_is_the_one_that_is_served() -> None:
    """`make schema` writes it."""
    assert PUBLISHED.strip() == schema.as_str().strip(), "schema.graphql is outdated: run make schema"


def test_every_type_field_argument_and_value_has_a_description() -> None:
    """GraphiQL is the manual."""
    missing = []
    for name, kind in build_schema(PUBLISHED).type_map.items():
        if name.startswith("__") or name in {"Boolean", "Float", "ID", "Int", "String"}:
            continue
        if not kind.description:
            missing.append(name)
        if isinstance(kind, GraphQLEnumType):
            missing += [f"{name}.{value}" for value, of in kind.values.items() if not of.description]
        if isinstance(kind, GraphQLInputObjectType | GraphQLInterfaceType | GraphQLObjectType):
            for field_name, field in kind.fields.items():
                if not field.description:
                    missing.append(f"{name}.{field_name}")
                arguments = getattr(field, "args", {})
                missing += [f"{name}.{field_name}({a})" for a, of in arguments.items() if not of.description]

    assert missing == []


@pytest.mark.parametrize("guide", [Path("README.md"), *sorted(Path("docs").glob("*.md"))], ids=str)
def test_operations_of_the_guides_are_valid(guide: Path) -> None:
    """A user copies them. Some need a deployment, so no test can run them."""
    operations = [json.loads(text) for text in re.findall(r'"query": ("(?:[^"\\]|\\.)*")', guide.read_text())]

    assert [validate(build_schema(PUBLISHED), parse(operation)) for operation in operations] == [[]] * len(operations)
