"""The cache of operations: reused by their text, and limited in number and length."""

import asyncio
import gc
import json
import sys
import tracemalloc
import weakref
from contextlib import aclosing
from itertools import pairwise

import pytest
from graphql import FragmentDefinitionNode, Node, Token, Visitor, visit

from graphql_api.budgets import request_turns
from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.budgets.request_turns import MAX_STARTS
from graphql_api.graphql_server.execution import operations
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest
from graphql_api.graphql_server.execution.operations import InvalidOperation, Operation
from graphql_api.graphql_server.settings import MIB, GraphQLSettings
from observability import request_context
from observability.request_context import RequestContext
from tests.graphql_api.graphql_server.example import make_schema
from tests.graphql_api.graphql_server.service import ExampleContext
from tests.graphql_api.turns import counted_turns
from tests.stack import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def executor() -> Executor:
    """Cache at most three documents, or 1,500 characters of them."""
    return Executor(make_schema(), GraphQLSettings(max_cached_documents=3, max_cached_length=1_500), MemoryBudget(MIB))


def prepare(executor: Executor, query: str, name: str | None = None) -> Operation:
    """Return the operation of a request."""
    return asyncio.run(executor.prepare(GraphQLRequest(query, name, None, None), ExampleContext.of_somebody()))


def cached(executor: Executor, query: str) -> Operation:
    """Return the operation of a document that is in the cache."""
    prepare(executor, query)
    return prepare(executor, query)


@pytest.mark.parametrize("query", ["{ new: hello }", "{ unknown }"], ids=["valid", "not valid"])
def test_requests_that_shared_the_reading_of_a_document_continue_in_turns(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Thousands of subscribers that connect after a restart do not all continue in one iteration of the event loop."""
    monkeypatch.setattr(request_turns, "MAX_START_SECONDS", 0)
    context = ExampleContext.of_somebody()

    async def most_at_a_time() -> int:
        async with asyncio.timeout(PATIENCE_SECONDS):
            request = GraphQLRequest(query, None, None, None)
            requests = [asyncio.create_task(executor.prepare(request, context)) for _ in range(5 * MAX_STARTS)]
            continued = [0]
            while continued[-1] < len(requests):
                await asyncio.sleep(0)
                continued.append(sum(each.done() for each in requests))
            await asyncio.gather(*requests, return_exceptions=True)
        return max(after - before for before, after in pairwise(continued))

    assert asyncio.run(most_at_a_time()) == MAX_STARTS


def test_a_document_is_cached_when_it_is_sent_again(executor: Executor) -> None:
    """From the second request on, requests with the same text share one operation."""
    first, second, third = (prepare(executor, "{ hello }") for _ in range(3))

    assert first is not second
    assert second is third


def test_a_long_document_that_is_not_cached_has_a_cost_of_its_own(executor: Executor) -> None:
    """It stays in memory until its operation ends. A cached document is in memory once for all operations."""
    long = GraphQLRequest("{ hello } #" + "x" * 989, None, None, None)
    short = GraphQLRequest("{ short: hello }", None, None, None)
    assert executor._operations.document_cost(long) == 10
    assert executor._operations.document_cost(short) == 0

    cached(executor, short.query)

    assert executor._operations.document_cost(long) == 10
    assert executor._operations.document_cost(short) == 0


async def test_operations_with_many_fields_do_not_start_in_the_same_iteration(executor: Executor) -> None:
    """Together, they would block the event loop. They cost 3 units each."""
    context = ExampleContext.of_somebody()
    request = GraphQLRequest("{ " + " ".join(f"a{number}: hello" for number in range(300)) + " }", None, None, None)
    operation = await executor.prepare(request, context)
    async with counted_turns() as turns:
        before = turns.count
        responses = await asyncio.gather(*(executor.execute(operation, request, context) for _ in range(50)))

    assert all(response.is_executed for response in responses)
    assert turns.count - before >= 50


async def test_each_field_of_the_root_can_take_a_turn(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 300 fields can read the same long variable. Together, they would block the event loop."""
    monkeypatch.setattr(LoopTurn, "is_over", True)
    context = ExampleContext.of_somebody()
    request = GraphQLRequest("{ " + " ".join(f"a{number}: hello" for number in range(300)) + " }", None, None, None)
    operation = await executor.prepare(request, context)
    async with counted_turns() as turns:
        before = turns.count
        response = await executor.execute(operation, request, context)

    assert len(json.loads(response.body)["data"]) == 300
    assert turns.count - before >= 300


def test_each_fragment_is_searched_for_variables_once(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document can have 160 operations, and a fragment with 900 values. To search it 160 times would take 0.1 s."""
    searched: list[object] = []

    def count(node: Node, visitor: Visitor) -> object:
        searched.append(node)
        return visit(node, visitor)

    monkeypatch.setattr(operations, "visit", count)
    names = " ".join(f"query A{number} {{ ...F }}" for number in range(50))

    prepare(executor, f"{names} fragment F on Query {{ hello }}", "A1")

    assert sum(isinstance(node, FragmentDefinitionNode) for node in searched) == 1


def test_the_operation_name_selects_an_operation(executor: Executor) -> None:
    """A document with several operations needs a name that it has."""
    query = "query A { hello } query B { missing }"

    assert prepare(executor, query, "B").name == "B"
    assert prepare(executor, "query A { hello }").name == "A"
    for name in (None, "C"):
        with pytest.raises(InvalidOperation):
            prepare(executor, query, name)


def test_the_least_recently_used_document_is_evicted_first(executor: Executor) -> None:
    """When the cache is full."""
    first = cached(executor, "{ first: hello }")
    second = cached(executor, "{ second: hello }")
    cached(executor, "{ third: hello }")
    assert prepare(executor, "{ first: hello }") is first
    cached(executor, "{ fourth: hello }")

    assert prepare(executor, "{ first: hello }") is first
    assert prepare(executor, "{ second: hello }") is not second


def test_a_document_with_values_in_its_text_evicts_no_others(executor: Executor) -> None:
    """It will not be sent again."""
    kept = cached(executor, "{ hello }")
    for number in range(10):
        cached(executor, f'{{ hello(name: "{number:>100}") }}')

    assert prepare(executor, "{ hello }") is kept


def test_what_is_kept_is_bounded_in_memory() -> None:
    """By the length of the text: a parsed document takes a known multiple of it."""
    settings = GraphQLSettings(max_cached_length=6 * 1024)
    executor = Executor(make_schema(), settings, MemoryBudget(MIB))
    prepare(executor, "{ hello }")
    tracemalloc.start()
    try:
        for number in range(15):
            cached(executor, "{" + " ".join(f"alias{number}x{field}: hello" for field in range(40)) + "}")
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 80 * settings.max_cached_length  # without the limit, 136 times


def test_a_document_that_is_sent_once_leaves_no_object(executor: Executor) -> None:
    """An object that is created while a document is read keeps the memory around it in use."""

    def blocks_after(documents: range) -> int:
        for number in documents:
            prepare(executor, f"{{ once{number}: hello }}")
        gc.collect()
        return sys.getallocatedblocks()

    blocks_after(range(300))
    before = blocks_after(range(300, 310))

    assert blocks_after(range(310, 610)) - before < 100


def test_a_document_is_freed_without_a_garbage_collection() -> None:
    """Garbage collections of the API are rare. Documents with fragments wait for one, because of graphql-core."""

    def tokens() -> int:
        return sum(isinstance(each, Token) for each in gc.get_objects())

    executor = Executor(make_schema(), GraphQLSettings(), MemoryBudget(MIB))
    gc.collect()
    before = tokens()
    gc.disable()
    try:
        document = weakref.ref(prepare(executor, "{ hello missing }").document)
        assert (document(), tokens()) == (None, before)
    finally:
        gc.enable()


async def test_requests_with_the_same_document_share_one_reading(executor: Executor) -> None:
    """Otherwise most of the subscribers that connect at the same time after a restart would be refused.

    The errors of each request have the id of this request.
    """
    context = ExampleContext.of_somebody()
    count = 2 * context.budget.heavy_cost.max_waiting

    async def outcome(query: str, number: int) -> object:
        request_context.enter(RequestContext(b"%d" % number))
        try:
            return id(await executor.prepare(GraphQLRequest(query, None, None, None), context))
        except InvalidOperation as invalid:
            return [error["extensions"]["requestId"] for error in json.loads(invalid.response.body)["errors"]]

    valid = await asyncio.gather(*(outcome("{ shared: hello }", number) for number in range(count)))
    invalid = await asyncio.gather(*(outcome("{ unknown }", number) for number in range(count)))

    assert valid == [valid[0]] * count
    assert invalid == [[str(number)] for number in range(count)]


async def test_documents_are_executed_before_many_more_are_read(executor: Executor) -> None:
    """Otherwise, the documents of all waiting requests would be in memory at the same time."""
    context = ExampleContext.of_somebody()
    budget = context.budget.heavy_cost
    events: list[str] = []

    async def run(number: int) -> None:
        text = f"{{ {' '.join(f'a{number}_{n}: hello' for n in range(300))} }}"
        request = GraphQLRequest(text, None, None, None)
        operation = await executor.prepare(request, context)
        events.append("read")
        await executor.execute(operation, request, context)
        events.append("executed")

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(run(number))

    in_memory = [events[: n + 1].count("read") - events[:n].count("executed") for n in range(len(events))]
    assert events.count("executed") == 20
    assert max(in_memory) <= 4
    assert budget.used == 0


async def test_a_request_that_ends_during_the_reading_of_a_document_ends_no_others(executor: Executor) -> None:
    """The others read the document."""
    context = ExampleContext.of_somebody()
    request = GraphQLRequest("{ read: hello }", None, None, None)
    first, second, third = (asyncio.create_task(executor.prepare(request, context)) for _ in range(3))
    await asyncio.sleep(0)

    first.cancel()

    assert (await second).document.loc is not None
    assert (await third).document.loc is not None
    assert first.cancelled()


async def test_a_subscription_that_is_cancelled_while_it_closes_gives_its_budget_back(executor: Executor) -> None:
    """The first cancellation closes the source, and the second one interrupts this."""
    context = ExampleContext.of_somebody()
    request = GraphQLRequest("subscription { slowToClose }", None, None, None)
    operation = await executor.prepare(request, context)
    has_response = asyncio.Event()

    async def read_slowly() -> None:
        async with aclosing(executor.subscribe(operation, request, context)) as responses:
            async for _ in responses:
                has_response.set()
                await asyncio.Event().wait()

    reading = asyncio.create_task(read_slowly())
    await has_response.wait()
    assert context.budget.subscriptions.used == 1
    while not reading.done():
        reading.cancel()
        await asyncio.sleep(0)

    assert context.budget.subscriptions.used == 0
