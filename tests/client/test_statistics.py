"""The client lists the statistics, filters and orders of the published schema."""

import json
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
)

from dropzone import BadUserInput, Group, OrderField, Range, Result, ResultFilter, Summary
from dropzone.encoding import camel_case
from dropzone.statistics import TABLE_COLUMNS, Statistics


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """Return the published schema."""
    return build_schema(Path("schema.graphql").read_text())


def test_results_have_the_fields_of_the_schema(schema: GraphQLSchema) -> None:
    """A field has a default of None if the API can return null.

    Fields that need a read of the sample are left out. `labels` has what `label` returns.
    """
    result = schema.get_type("Result")
    assert isinstance(result, GraphQLObjectType)
    expected = {name: isinstance(field.type, GraphQLNonNull) for name, field in result.fields.items()}
    del expected["sample"], expected["submittedBy"], expected["label"]

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


@pytest.mark.parametrize(
    ("bound", "sent"),
    [
        (2, "2"),
        (2.0, "2"),
        (np.float32(0.5), "0.5"),
        (np.int64(3), "3"),
        (2**60 + 1, "1.152921504606847e+18"),
        (datetime(2020, 1, 1, tzinfo=UTC), '"2020-01-01T00:00:00Z"'),
    ],
)
def test_a_bound_can_be_a_number_of_any_type(bound: Any, sent: str) -> None:
    """The API accepts whole numbers for the range `count`, and only numbers that a double can hold."""
    assert json.dumps(Range(gte=bound).variables()["gte"]) == sent


@pytest.mark.parametrize(
    "bound", ["many", [1], 10**400, float("nan"), np.datetime64("2020-01-01"), datetime(2020, 1, 1)]
)
def test_a_bound_that_is_not_a_number_or_a_time_is_an_error_of_the_caller(bound: Any) -> None:
    """It is raised before a request is sent."""
    with pytest.raises(BadUserInput, match="expected a"):
        Range(gte=bound).variables()
