"""Operations that need much more work than their length suggests are refused before they are executed."""

import sys
from types import FrameType

import pytest
from graphql import get_introspection_query, parse

from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.errors import TooComplex
from graphql_api.graphql_server import GraphQLSettings
from graphql_api.graphql_server.execution import operation_limits
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest
from graphql_api.graphql_server.execution.operations import InvalidOperation
from graphql_api.graphql_server.settings import MIB
from tests.graphql_api.graphql_server.example import make_schema
from tests.graphql_api.graphql_server.service import ExampleContext, Service, error_of
from tests.stack import Stack

MAX_RELATIVE_COST = 10
"""Function calls of a refusal in introspections. A refusal takes up to 2. Without limits, it takes hundreds of them."""

COMPLEX = "OPERATION_TOO_COMPLEX"
PARSE = "GRAPHQL_PARSE_FAILED"
INVALID = "GRAPHQL_VALIDATION_FAILED"


def doubling(number: int, last: str = "hello") -> str:
    """Return a document with fragments that each spread the next one twice."""
    fragments = (f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(number))
    return f"{{ ...F0 }} {' '.join(fragments)} fragment F{number} on Query {{ {last} }}"


def many(text: str, number: int) -> str:
    """Repeat a text, which may refer to its number as {}."""
    return " ".join(text.format(n) for n in range(number))


def chain(name: str, number: int) -> str:
    """Return fragments that each spread the next one."""
    spreads = (f"fragment {name}{n} on Query {{ ...{name}{n + 1} }}" for n in range(number))
    return f"{' '.join(spreads)} fragment {name}{number} on Query {{ hello }}"


ATTACKS = {
    "aliases": ("{" + many("a{}: hello", 1_000) + "}", PARSE),
    "fewer aliases": ("{" + many("a{}: hello", 400) + "}", COMPLEX),
    "duplicated fields": ("{" + many("hello", 500) + "}", COMPLEX),
    "duplicated nested fields": ("{ __schema {" + many("queryType {{ name }}", 80) + "} }", COMPLEX),
    "fields merged from fragments": (
        "{" + many("...F{}", 130) + "}" + many('fragment F{} on Query {{ hello(name: "a") }}', 130),
        COMPLEX,
    ),
    "chains of fragments": ("{ ...A0 ...B0 ...C0 }" + "".join(chain(name, 80) for name in "ABC"), COMPLEX),
    "a long chain of fragments": ("{ ...A0 }" + chain("A", 240), COMPLEX),
    "fields merged from inline fragments": ("{" + many("... {{ hello }}", 150) + "}", COMPLEX),
    "deep nesting": ("{a" * 5_000 + "}" * 5_000, PARSE),
    "nesting that parses": ("{a" * 150 + "}" * 150, COMPLEX),
    "deep lists": ("{ hello(name: " + "[" * 5_000 + "]" * 5_000 + ") }", PARSE),
    "deep lists that parse": ("{ hello(name: " + "[" * 180 + "]" * 180 + ") }", INVALID),
    "circular fragments": ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", COMPLEX),
    "a fragment that spreads itself": ("{ ...A } fragment A on Query { hello ...A }", COMPLEX),
    "circular fragments that are not spread": (
        "{ hello } fragment A on Query { ...B } fragment B on Query { ... { ...A } }",
        COMPLEX,
    ),
    "doubling fragments": (doubling(24), COMPLEX),
    "doubling fragments of nothing": (doubling(120, last=""), COMPLEX),
    "doubling fragments unspread": (doubling(24).replace("{ ...F0 }", "{ hello }"), COMPLEX),
    "directives": ("{ hello " + "@a " * 10_000 + "}", PARSE),
    "fewer directives": ("{ hello " + "@skip(if: true) " * 150 + "}", COMPLEX),
    "a huge document": ("{" + "hello " * 100_000 + "}", COMPLEX),
    "comments": ("#\n" * 2_900 + "{ hello }", PARSE),
    "line breaks before errors": ("\n" * 60_000 + "query(" + many("$a{}: Int", 10) + ") { hello }", COMPLEX),
    "carriage returns before errors": ("\r" * 60_000 + "query(" + many("$a{}: Int", 10) + ") { hello }", COMPLEX),
    "escapes": ('{ hello(name: "' + "\\n" * 30_000 + '") }', COMPLEX),
    "a huge name": ("{" + "x" * 60_000 + "}", COMPLEX),
    "a huge alias": ("{" + "x" * 60_000 + ": hello }", COMPLEX),
    "introspections": ("{" + many("a{}: __schema {{ types {{ name }} }}", 200) + "}", COMPLEX),
    "fewer introspections": ("{" + many('a{}: __type(name: "Query") {{ name }}', 10) + "}", COMPLEX),
    "deep introspection": ("{ __schema { types " + "{ fields { type " * 5 + "{ name }" + " } }" * 5 + "} }", INVALID),
    "wide introspection": ("{ __schema {" + many("a{}: types {{ fields {{ args {{ name }} }} }}", 50) + "} }", COMPLEX),
    "duplicate variables": ("query(" + "$a: Int " * 450 + ") { hello }", INVALID),
    "more duplicate variables": ("query(" + "$a: Int " * 33_000 + ") { hello }", COMPLEX),
    "unused variables": ("query(" + many("$a{}: Int", 450) + ") { hello }", INVALID),
    "unknown fields": ("{" + many("x{}", 300) + "}", INVALID),
    "operations together": (many("query Q{} {{" + many("a{}: hello", 100) + "}}", 5).replace("{{", "{"), COMPLEX),
}


async def count_calls(query: str) -> int:
    """Return how many functions are called to execute or to refuse an operation, a measure of its CPU time."""
    executor, request = Executor(make_schema(), GraphQLSettings(), MemoryBudget(MIB)), GraphQLRequest(query, None, None)
    context, calls = ExampleContext.of_somebody(), 0

    def count(frame: FrameType, event: str, function: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    earlier = sys.getprofile()
    sys.setprofile(count)
    try:
        await executor.execute(await executor.prepare(request, context), request, context)
    except InvalidOperation as refusal:
        _ = refusal.response  # describing the errors is part of the work
    finally:
        sys.setprofile(earlier)
    return calls


@pytest.fixture(scope="module")
async def introspection_calls() -> int:
    """Return how many functions are called to execute an introspection."""
    return await count_calls(get_introspection_query())


@pytest.mark.parametrize(("query", "code"), ATTACKS.values(), ids=ATTACKS)
async def test_expensive_operations_are_refused_cheaply(
    service: Service, introspection_calls: int, query: str, code: str
) -> None:
    """The response is short and has a code. A refusal calls fewer functions than ten introspections."""
    response = service.post(query)

    assert error_of(response) == (400, code)
    assert len(response.content) < 1024
    assert await count_calls(query) < MAX_RELATIVE_COST * introspection_calls
    if code == COMPLEX and "itself" not in response.text:
        assert response.json()["errors"][0]["extensions"]["limit"] in GraphQLSettings.__slots__


@pytest.mark.parametrize(
    "options", [{}, {"descriptions": False}, {"specified_by_url": True, "schema_description": True}]
)
def test_introspection_queries_of_tools_are_answered(service: Service, options: dict[str, bool]) -> None:
    """GraphiQL and code generators send this query."""
    assert service.post(get_introspection_query(**options)).json()["data"]["__schema"]["types"]


def test_an_operation_may_spread_fragments_many_times(service: Service) -> None:
    """Clients with one fragment for each component select the same fields many times."""
    query = "{" + "...A ...B " * 12 + "} fragment A on Query { hello ...B } fragment B on Query { b: hello __typename }"

    assert service.post(query).json() == {"data": {"hello": "hello you", "b": "hello you", "__typename": "Query"}}


def test_fragments_are_counted_as_if_expanded() -> None:
    """The count in the message is exact."""
    document = parse(doubling(10))

    with pytest.raises(TooComplex, match="selects 3071 fields"):
        operation_limits.check(document, GraphQLSettings(max_selections=3_070, max_comparisons=10**9))


@pytest.mark.parametrize(
    ("query", "depth"),
    [
        ("{ a }", 1),
        ("{ a { b { c } } }", 3),
        ("{ ... { ... { a } } }", 1),
        ("{ a { ...F } } fragment F on X { b { c } }", 3),
        ("{ ...F } fragment F on X { a { ...G } } fragment G on X { b { c { d } } }", 4),
    ],
)
def test_the_depth_is_that_of_the_response(query: str, depth: int) -> None:
    """Fragments add no depth."""
    operation_limits.check(parse(query), GraphQLSettings(max_selection_depth=depth))
    if depth > 1:
        with pytest.raises(TooComplex, match=f"nested {depth} levels"):
            operation_limits.check(parse(query), GraphQLSettings(max_selection_depth=depth - 1))


def test_only_a_few_errors_of_a_long_value_are_reported(stack: Stack) -> None:
    """The message of each error contains the value. Printing it for all errors would block the event loop."""
    members = [f"m{number}: 1" for number in range(600)]
    query = "{ results(filter: {%s}) { totalCount } }"

    one, many = (stack.post_graphql(query % " ".join(each)).json()["errors"] for each in (members[:1], members))

    assert "unknown field" in one[0]["message"]
    assert many[-1]["message"] == "3 more errors are not listed"
