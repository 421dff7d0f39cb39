"""The operations of the dashboard and the examples of GraphiQL are valid against the schema."""

import re
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    parse,
    validate,
)

from graphql_api.web.pages import DASHBOARD_FOLDER, GRAPHIQL_FOLDER
from tests.graphql_api.web.operations import STATISTICS, operations

OPERATIONS = operations()
TYPES = (DASHBOARD_FOLDER / "src" / "types.ts").read_text(encoding="utf-8")
NOT_STATISTICS = {
    "id",
    "timestamp",
    "computedAt",
    "firstComputedAt",
    "statisticsVersion",
    "sample",
    "histogram",
    "label",
    "labels",
    "supersededBy",
    "missingCount",
    "submittedBy",
}
TABS = (GRAPHIQL_FOLDER / "page" / "tabs.js").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"const (\w+) = `([^`]+\{[^`]+)`;", TABS))


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """Return the published schema."""
    return build_schema(Path("schema.graphql").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_the_dashboard_are_valid(schema: GraphQLSchema, name: str) -> None:
    """All fields and arguments exist with these types."""
    assert validate(schema, parse(OPERATIONS[name])) == []


def test_statistics_of_the_dashboard_equal_the_schema(schema: GraphQLSchema) -> None:
    """The dashboard lists every statistic, whether it can be null, and filters only by what the API filters by."""
    result, result_filter = schema.get_type("Result"), schema.get_type("ResultFilter")
    assert isinstance(result, GraphQLObjectType)
    assert isinstance(result_filter, GraphQLInputObjectType)
    expected = {
        name: "false" if isinstance(field.type, GraphQLNonNull) else "true"
        for name, field in result.fields.items()
        if name not in NOT_STATISTICS
    }

    assert {name: nullable for name, *_, nullable in STATISTICS} == expected
    assert {name for name, *_, is_filter, _ in STATISTICS if is_filter == "true"} <= set(result_filter.fields)


@pytest.mark.parametrize("name", ["SampleState", "TimelineEvent"])
def test_the_dashboard_has_a_label_for_every_member_of_an_enum(schema: GraphQLSchema, name: str) -> None:
    """The labels are a record with these keys, which the type checker of the dashboard compares."""
    enum = schema.get_type(name)
    assert isinstance(enum, GraphQLEnumType)
    [declaration] = re.findall(rf"^export type {name} =([^;]+);", TYPES, re.MULTILINE)

    assert set(re.findall(r"'(\w+)'", declaration)) == set(enum.values)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_graphiql_are_valid(schema: GraphQLSchema, name: str) -> None:
    """A user can run each example unchanged. A test of the page runs each one with its variables."""
    assert validate(schema, parse(EXAMPLES[name])) == []
