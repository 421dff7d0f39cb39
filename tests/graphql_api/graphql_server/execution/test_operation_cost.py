"""The cost of an operation counts the sizes of lists, nested fields and introspection."""

import math
from typing import Any

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
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
from graphql_api.schema.executable_schema import executable_schema

ITEM = GraphQLObjectType("Item", {"id": GraphQLField(GraphQLInt), "double": GraphQLField(GraphQLInt)})
PAGE = GraphQLObjectType("Page", {"edges": GraphQLField(GraphQLList(ITEM)), "total": GraphQLField(GraphQLInt)})
FILTER = GraphQLInputObjectType(
    "Filter", {"state": GraphQLInputField(GraphQLInt), "label": GraphQLInputField(GraphQLInt)}
)
FIRST = {"first": GraphQLArgument(GraphQLInt), "ids": GraphQLArgument(GraphQLList(GraphQLInt))}
SCHEMA = GraphQLSchema(
    GraphQLObjectType(
        "Query",
        {
            "page": GraphQLField(PAGE, args=FIRST | {"filter": GraphQLArgument(FILTER)}),
            "items": GraphQLField(GraphQLList(ITEM), args=FIRST),
            "plain": GraphQLField(GraphQLInt),
        },
    )
)
assert SCHEMA.query_type is not None
for name in ("page", "items"):
    declared = FieldCost(1, 1, ("first", "ids"), 20, max_size=100, scan_units=50, scan_members=frozenset({"state"}))
    declare(SCHEMA.query_type.fields[name], declared)


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


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ page(first: 1, filter: {state: 1}) { total } }", {}),
        ("query($f: Filter) { page(first: 1, filter: $f) { total } }", {"f": {"state": 1}}),
        ("query($f: Filter = {state: 1}) { page(first: 1, filter: $f) { total } }", {}),
        ("query($s: Int) { page(first: 1, filter: {state: $s}) { total } }", {"s": 1}),
    ],
)
def test_a_filter_that_makes_the_server_read_more_documents_costs_more(query: str, variables: dict[str, Any]) -> None:
    """As a literal, as a variable, or as its default. Other filters do not."""
    assert cost(query, variables) == 3 + 50
    assert cost(query.replace("state", "label"), {name: {"label": 1} for name in variables}) == 3


def test_each_variable_with_other_filters_has_its_own_cost() -> None:
    """The cost that is known for one filter is not used for another one."""
    operation = parse("query($f: Filter) { page(first: 1, filter: $f) { total } }")
    definition = operation.definitions[0]
    assert isinstance(definition, OperationDefinitionNode)
    measured = OperationCost(SCHEMA, operation, definition)

    costs = [measured.of({"f": given}) for given in ({"label": 1}, {"state": 1}, None, {"state": 1, "label": 1}, {})]

    assert costs == [3, 53, 3, 53, 3]
    assert measured.maximum == math.inf


def test_a_filter_that_is_null_costs_nothing() -> None:
    """Clients send null for a field that the user has not set."""
    query = "query($f: Filter) { page(first: 1, filter: $f) { total } }"

    assert cost("{ page(first: 1, filter: {state: null}) { total } }") == 3
    assert cost(query, {"f": {"state": None}}) == 3


def test_names_that_a_client_invents_are_not_kept() -> None:
    """The cost is computed before the variables are checked."""
    operation = parse("query($f: Filter) { page(first: 1, filter: $f) { total } }")
    definition = operation.definitions[0]
    assert isinstance(definition, OperationDefinitionNode)
    measured = OperationCost(SCHEMA, operation, definition)
    for number in range(10):
        measured.of({"f": {f"invented {number}": 1}})

    assert len(measured._known) == 1


@pytest.mark.parametrize(
    ("cheap", "costly"),
    [
        (
            "{ samples(first: 1, filter: {labels: []}) { edges { cursor } } }",
            "{ samples(first: 1, filter: {state: FAILED}) { edges { cursor } } }",
        ),
        (
            "{ results(first: 1, filter: {timestamp: {}}) { edges { cursor } } }",
            "{ results(first: 1, filter: {mean: {}}) { edges { cursor } } }",
        ),
    ],
)
def test_pages_by_a_state_or_by_a_range_of_a_statistic_are_heavy_operations(cheap: str, costly: str) -> None:
    """Only a few heavy operations of one submitter are executed at the same time."""
    schema = executable_schema()

    assert cost(cheap, schema=schema) < 10 < cost(costly, schema=schema)


def test_a_page_of_the_audit_log_counts_its_entries() -> None:
    """An entry can have 100 ids of samples."""
    schema = executable_schema()

    costs = [cost(f"{{ auditLog(first: {first}) {{ id }} }}", schema=schema) for first in (1, 500)]

    assert costs[0] < 25
    assert costs[1] > 200


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
    schema = executable_schema()

    assert cost(get_introspection_query(), schema=schema) < GraphQLSettings().max_operation_cost / 4
    assert cost(f"{{ __schema {{ types {{ {aliases} }} }} }}", schema=schema) > 100


def test_a_submission_costs_one_unit() -> None:
    """Also with all fields that clients usually select."""
    submit = "mutation($s: RawSample!) { submit(sample: $s) { id state count sha256 problems { path code message } } }"

    assert cost(submit, schema=executable_schema()) == 1
