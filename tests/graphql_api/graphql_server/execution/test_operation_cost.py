"""The cost of an operation counts the sizes of lists, nested fields and introspection."""

from typing import Any

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInt,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_introspection_query,
    parse,
)

from graphql_api.graphql_server.execution.operation_cost import FieldCost, OperationCost, declare
from graphql_api.graphql_server.settings import GraphQLSettings
from graphql_api.schema.executable import executable

ITEM = GraphQLObjectType("Item", {"id": GraphQLField(GraphQLInt), "double": GraphQLField(GraphQLInt)})
PAGE = GraphQLObjectType("Page", {"edges": GraphQLField(GraphQLList(ITEM)), "total": GraphQLField(GraphQLInt)})
FIRST = {"first": GraphQLArgument(GraphQLInt), "ids": GraphQLArgument(GraphQLList(GraphQLInt))}
SCHEMA = GraphQLSchema(
    GraphQLObjectType(
        "Query",
        {
            "page": GraphQLField(PAGE, args=FIRST),
            "items": GraphQLField(GraphQLList(ITEM), args=FIRST),
            "plain": GraphQLField(GraphQLInt),
        },
    )
)
for name in ("page", "items"):
    declare(SCHEMA.query_type.fields[name], FieldCost(1, 1, ("first",), default_size=20, max_size=100))  # type: ignore[union-attr]


def cost(query: str, variables: dict[str, Any] | None = None, schema: GraphQLSchema = SCHEMA) -> int:
    """Return the cost of the first operation of a document."""
    document = parse(query)
    operation = next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    return OperationCost(schema, document, operation).of(variables or {})


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        ("{ plain }", {}, 1),
        ("{ page(first: 10) { total } }", {}, 12),
        ("{ page { total } }", {}, 22),
        ("{ page(first: 10000) { total } }", {}, 102),
        ("{ page(first: -1) { total } }", {}, 2),
        ("query($n: Int) { page(first: $n) { total } }", {"n": 50}, 52),
        ("query($n: Int = 30) { page(first: $n) { total } }", {}, 32),
        ("query($n: Int) { page(first: $n) { total } }", {"n": "many"}, 22),
        ("query($n: Int) { page(first: $n) { total } }", {"n": 1e400}, 22),
        ("query($n: Int) { page(first: $n) { total } }", {"n": 10**400}, 102),
        ("query($ids: [Int]) { items(ids: $ids) { id } }", {"ids": [1] * 5}, 7),
        ("{ items(ids: [1, 2, 3]) { id } }", {}, 5),
        (f"{{ items(ids: {'1' * 5_000}) {{ id }} }}", {}, 3),
        ("{ a: page(first: 10) { total } b: page(first: 10) { total } }", {}, 23),
    ],
)
def test_the_size_of_a_list_counts(query: str, variables: dict[str, Any], expected: int) -> None:
    """As a literal, as a variable, as its default, or as the length of a list. A size over the maximum is refused."""
    assert cost(query, variables) == expected


def test_fields_below_a_list_count_for_each_item() -> None:
    """Directly, in fragments, and in the list below a page."""
    fields = " ".join(f"f{number}: id" for number in range(100))
    page = cost(f"{{ page(first: 100) {{ edges {{ {fields} }} }} }}")

    assert page == cost(f"{{ page(first: 100) {{ edges {{ ...F }} }} }} fragment F on Item {{ {fields} }}")
    assert page == cost(f"{{ items(first: 100) {{ {fields} }} }}")
    assert page == pytest.approx(100 + 100 * 100 * 0.01, rel=0.1)


def test_introspection_counts_by_the_size_of_the_schema() -> None:
    """Tools that read the whole schema are below the limit."""
    aliases = " ".join(f"f{number}: name" for number in range(300))
    schema = executable()

    assert cost(get_introspection_query(), schema=schema) < GraphQLSettings().max_operation_cost / 4
    assert cost(f"{{ __schema {{ types {{ {aliases} }} }} }}", schema=schema) > 100


def test_a_submission_costs_one_unit() -> None:
    """Also with all fields that clients usually select."""
    submit = "mutation($s: RawSample!) { submit(sample: $s) { id state count sha256 problems { path code message } } }"

    assert cost(submit, schema=executable()) == 1
