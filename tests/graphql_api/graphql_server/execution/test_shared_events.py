"""Shared events: one response for equal requests, and no shared response where it could differ."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
)

from graphql_api.budgets.allowance import Allowance
from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server import GraphQLSettings, SharedEvent
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest, read_json
from graphql_api.graphql_server.execution.operation_cost import FieldCost, declare
from graphql_api.graphql_server.settings import MIB


class Caller:
    """The context of an operation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.budget = Budgets(Limits()).submitter(name)
        self.allowance = Allowance(Limits(), None)

    def end_reads(self, response_bytes: int = 0) -> None:
        """Do nothing: the operations read no documents."""

    def check_response(self, byte_count: int) -> None:
        """Accept a response of any size."""

    def fields_with_documents(self) -> tuple[str, ...]:
        """Return no fields: the operations read no documents."""
        return ()


class Reading(SharedEvent):
    """An event that counts how often its field is resolved."""

    def __init__(self) -> None:
        self.resolutions = 0

    def resolve(self, times: int = 1) -> int:
        """Return a multiple of seven."""
        self.resolutions += 1
        return 7 * times

    async def whose(self, caller: str) -> str:
        """Return a text that depends on the caller."""
        return f"read by {caller}"


def executor(event: object, cost: FieldCost | None = None) -> Executor:
    """Return an executor of a schema with one subscription, which yields one event. `cost` is of the field `whose`."""

    async def source(*_: object, **__: object) -> AsyncIterator[object]:
        yield event

    reading = GraphQLObjectType(
        "Reading",
        {
            "value": GraphQLField(
                GraphQLNonNull(GraphQLInt),
                args={"times": GraphQLArgument(GraphQLInt, default_value=1)},
                resolve=lambda reading, info, times: reading.resolve(times),
            ),
            "whose": GraphQLField(GraphQLString, resolve=lambda reading, info: reading.whose(info.context.name)),
        },
    )
    if cost is not None:
        declare(reading.fields["whose"], cost)
    field = GraphQLField(
        reading,
        args={"after": GraphQLArgument(GraphQLInt)},
        subscribe=source,
        resolve=lambda reading, info, **_: reading,
    )
    query = GraphQLObjectType("Query", {"hello": GraphQLField(GraphQLString)})
    schema = GraphQLSchema(query, subscription=GraphQLObjectType("Subscription", {"readings": field}))
    return Executor(schema, GraphQLSettings(), MemoryBudget(MIB))


def request(query: str, variables: Mapping[str, object] | None = None) -> GraphQLRequest:
    """Return a request as it is received."""
    return read_json(orjson.dumps({"query": query, "variables": variables or {}}))


async def first(executor: Executor, request: GraphQLRequest, caller: str = "somebody") -> Any:
    """Return the data of the first response of a subscription."""
    context = Caller(caller)
    async for each in executor.subscribe(await executor.prepare(request, context), request, context):
        return orjson.loads(each.body)["data"]["readings"]
    raise AssertionError("the subscription has no response")


@pytest.mark.parametrize(
    "query",
    [
        "subscription { readings { value } }",
        "subscription ($after: Int) { readings(after: $after) { value } }",
        "subscription ($after: Int) { readings(after: $after) { ...it } } fragment it on Reading { value }",
    ],
)
async def test_equal_requests_share_a_response(query: str) -> None:
    """Also if they start at different cursors: variables of the root field select events only."""
    event = Reading()
    service = executor(event)

    responses = [await first(service, request(query, {"after": cursor})) for cursor in range(5)]

    assert responses == [{"value": 7}] * 5
    assert event.resolutions == 1


async def test_large_responses_are_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event stays in memory for a long time, and thousands of events with large responses would fill the memory."""
    monkeypatch.setattr("graphql_api.graphql_server.execution.executor._MAX_SHARED_BYTES", 100)
    event = Reading()
    service = executor(event)
    small, large = "subscription { readings { value } }", f"subscription {{ readings {{ {'x' * 100}: value }} }}"

    for query in (small, large, small, large):
        await first(service, request(query))

    assert event.resolutions == 3


@pytest.mark.parametrize(
    "query",
    [
        "subscription ($times: Int) { readings { value(times: $times) } }",
        "subscription ($times: Int) { readings { ...it } } fragment it on Reading { value(times: $times) }",
        "subscription ($times: Int) { ... { readings { value(times: $times) } } }",
    ],
)
@pytest.mark.parametrize("padding", ["", "x" * 2**20], ids=["small", "large"])
async def test_other_variables_below_the_root_are_not_shared(query: str, padding: str) -> None:
    """The responses differ. Large variables are released before the first event, but still compared."""
    service = executor(Reading())

    responses = [await first(service, request(query, {"times": times, "padding": padding})) for times in (1, 2)]

    assert responses == [{"value": 7}, {"value": 14}]


async def test_another_condition_at_the_root_is_not_shared() -> None:
    """One response has the field, the other does not."""
    service = executor(Reading())
    query = "subscription ($no: Boolean!) { readings { value @skip(if: $no) __typename } }"

    responses = [await first(service, request(query, {"no": no})) for no in (False, True)]

    assert responses == [{"value": 7, "__typename": "Reading"}, {"__typename": "Reading"}]


async def test_another_selection_is_not_shared() -> None:
    """Even if the values are equal."""
    service = executor(Reading())

    responses = [await first(service, request(f"subscription {{ readings {{ {name}: value }} }}")) for name in "ab"]

    assert responses == [{"a": 7}, {"b": 7}]


async def test_awaited_values_are_not_shared() -> None:
    """A resolver that awaits may have read them with the scopes of its caller."""
    service = executor(Reading())
    subscription = request("subscription { readings { whose } }")

    responses = [await first(service, subscription, caller) for caller in ("anna", "ben")]

    assert responses == [{"whose": "read by anna"}, {"whose": "read by ben"}]


async def test_few_events_of_a_submitter_are_executed_at_a_time() -> None:
    """Each execution can read documents. Thousands of them at once would delay the operations of others."""

    class Slow(Reading):
        executing = 0

        async def whose(self, caller: str) -> str:
            self.executing += 1
            await is_read.wait()
            self.executing -= 1
            return caller

    is_read = asyncio.Event()
    event, context = Slow(), Caller("somebody")
    service, subscription = executor(event), request("subscription { readings { whose } }")
    operation = await service.prepare(subscription, context)

    async def subscribe() -> list[bytes]:
        return [each.body async for each in service.subscribe(operation, subscription, context)]

    async with asyncio.TaskGroup() as tasks:
        subscribers = [tasks.create_task(subscribe()) for _ in range(100)]
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert event.executing == 16
        is_read.set()

    assert [each.result() for each in subscribers] == [[b'{"data":{"readings":{"whose":"somebody"}}}']] * 100
    assert context.budget.is_unused


async def test_other_events_are_not_shared() -> None:
    """Each subscriber gets its own response."""

    class Private:
        resolutions = 0

        def resolve(self, times: int) -> int:
            self.resolutions += 1
            return self.resolutions

    service = executor(Private())
    subscription = request("subscription { readings { value } }")

    assert [await first(service, subscription) for _ in range(2)] == [{"value": 1}, {"value": 2}]


@pytest.mark.parametrize(("copies", "held"), [(1, 31), (100, 100)])
async def test_an_event_uses_the_cost_of_its_operation(copies: int, held: int) -> None:
    """Few expensive events of a submitter are executed at the same time. An event uses at least a sixteenth."""
    used: list[int] = []

    class Priced(Reading):
        async def whose(self, caller: str) -> str:
            used.append(context.budget.event_cost.used)
            return caller

    service, context = executor(Priced(), FieldCost(1)), Caller("somebody")
    fields = " ".join(f"a{number}: whose" for number in range(copies))
    asked = request(f"subscription {{ readings {{ {fields} }} }}")

    async for _ in service.subscribe(await service.prepare(asked, context), asked, context):
        pass

    assert held <= min(used) <= max(used) <= held + 2
    assert context.budget.event_cost.used == 0


async def test_a_subscription_that_costs_too_much_is_refused() -> None:
    """As a query is."""
    service, context = executor(Reading(), FieldCost(600)), Caller("somebody")
    asked = request("subscription { readings { a: whose b: whose } }")

    [response] = [each async for each in service.subscribe(await service.prepare(asked, context), asked, context)]

    assert orjson.loads(response.body)["errors"][0]["extensions"]["code"] == "OPERATION_TOO_COMPLEX"
