"""The client lists the statistics, filters and orders of the published schema."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
)

from dropzone import Group, OrderField, Result, ResultFilter, Summary
from dropzone.encoding import camel_case
from dropzone.statistics import TABLE_COLUMNS, Statistics


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """Return the published schema."""
    return build_schema(Path("schema.graphql").read_text())


def test_results_have_the_fields_of_the_schema(schema: GraphQLSchema) -> None:
    """A field has a default of None if the API can return null. Fields that need a read of the sample are left out."""
    result = schema.get_type("Result")
    assert isinstance(result, GraphQLObjectType)
    expected = {name: isinstance(field.type, GraphQLNonNull) for name, field in result.fields.items()}
    del expected["sample"], expected["submittedBy"]

    assert {camel_case(field.name): field.default is MISSING for field in fields(Result)} == expected
    assert set(TABLE_COLUMNS) <= {field.name for field in fields(Statistics)}


def test_filters_orders_and_summaries_equal_the_schema(schema: GraphQLSchema) -> None:
    """Every filter and order of the API is available in Python and on the command line."""
    result_filter, order, summary = (
        schema.get_type(name) for name in ("ResultFilter", "ResultOrderField", "ResultsSummary")
    )
    assert isinstance(result_filter, GraphQLInputObjectType)
    assert isinstance(order, GraphQLEnumType)
    assert isinstance(summary, GraphQLObjectType)

    assert {camel_case(field.name) for field in fields(ResultFilter)} == set(result_filter.fields)
    assert {field.name for field in OrderField} == set(order.values)
    assert {camel_case(field.name) for field in fields(Summary)} == set(summary.fields) - {"groups"}
    assert {field.name for field in fields(Group)} == {"labels", "summary"}
