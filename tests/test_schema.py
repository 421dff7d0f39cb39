"""The published contract."""

from pathlib import Path

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, build_schema

from graphql_api.schema.executable import schema

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
