"""The operations that are kept: used again, and bounded."""

import gc
import tracemalloc

import pytest

from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest
from graphql_api.graphql_server.execution.operations import InvalidOperation, Operation
from graphql_api.graphql_server.settings import TransportSettings
from tests.graphql_api.graphql_server.example import make_schema


@pytest.fixture(scope="module")
def executor() -> Executor:
    """Keep at most three operations, or 1,600 characters of them."""
    return Executor(make_schema(), TransportSettings(max_cached_operations=3, max_operation_cache_length=1_600))


def prepare(executor: Executor, query: str, name: str | None = None) -> Operation:
    """Find an operation."""
    return executor.prepare(GraphQLRequest(query, name, None, None))


def test_an_operation_is_read_once(executor: Executor) -> None:
    """The same text is the same operation."""
    assert prepare(executor, "{ hello }") is prepare(executor, "{ hello }")


def test_the_operation_that_is_named_is_found(executor: Executor) -> None:
    """Among several, and no other."""
    query = "query A { hello } query B { missing }"

    assert prepare(executor, query, "B").name == "B"
    assert prepare(executor, "query A { hello }").name == "A"
    for name in (None, "C"):
        with pytest.raises(InvalidOperation):
            prepare(executor, query, name)


def test_the_least_recently_used_goes_first(executor: Executor) -> None:
    """When there are too many."""
    first = prepare(executor, "{ first: hello }")
    second = prepare(executor, "{ second: hello }")
    prepare(executor, "{ third: hello }")
    assert prepare(executor, "{ first: hello }") is first
    prepare(executor, "{ fourth: hello }")

    assert prepare(executor, "{ first: hello }") is first
    assert prepare(executor, "{ second: hello }") is not second


def test_an_operation_with_values_in_its_text_does_not_push_out_the_others(executor: Executor) -> None:
    """It will not come again."""
    kept = prepare(executor, "{ hello }")
    for number in range(10):
        prepare(executor, f'{{ hello(name: "{number:>100}") }}')

    assert prepare(executor, "{ hello }") is kept


def test_what_is_kept_is_bounded_in_memory() -> None:
    """By the text, which the parsed form is a known multiple of."""
    settings = TransportSettings(max_operation_cache_length=12 * 1024)
    executor = Executor(make_schema(), settings)
    prepare(executor, "{ hello }")
    tracemalloc.start()
    try:
        for number in range(30):
            prepare(executor, "{" + " ".join(f"alias{number}x{field}: hello" for field in range(40)) + "}")
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 200 * settings.max_operation_cache_length
