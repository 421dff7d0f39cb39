"""What many subscribers are answered alike is made once, and never shared where it could differ."""

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

from graphql_api.graphql_server import GraphQLSettings, SharedEvent
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest, read_json


class Reading(SharedEvent):
    """An event that counts how often it is looked at."""

    def __init__(self) -> None:
        self.resolutions = 0

    def look(self, times: int = 1) -> int:
        """Return a number, times something."""
        self.resolutions += 1
        return 7 * times

    async def whose(self, caller: str) -> str:
        """Return what differs between callers."""
        return f"seen by {caller}"


def executor(event: object) -> Executor:
    """Make an executor of a schema whose only subscription yields one event."""

    async def source(*_: object, **__: object) -> AsyncIterator[object]:
        yield event

    reading = GraphQLObjectType(
        "Reading",
        {
            "value": GraphQLField(
                GraphQLNonNull(GraphQLInt),
                args={"times": GraphQLArgument(GraphQLInt, default_value=1)},
                resolve=lambda reading, info, times: reading.look(times),
            ),
            "whose": GraphQLField(GraphQLString, resolve=lambda reading, info: reading.whose(info.context)),
        },
    )
    field = GraphQLField(
        reading,
        args={"after": GraphQLArgument(GraphQLInt)},
        subscribe=source,
        resolve=lambda reading, info, **_: reading,
    )
    query = GraphQLObjectType("Query", {"hello": GraphQLField(GraphQLString)})
    schema = GraphQLSchema(query, subscription=GraphQLObjectType("Subscription", {"readings": field}))
    return Executor(schema, GraphQLSettings())


def request(query: str, variables: Mapping[str, object] | None = None) -> GraphQLRequest:
    """Make a request as it comes over the wire."""
    return read_json(orjson.dumps({"query": query, "variables": variables or {}}))


async def answer(executor: Executor, asked: GraphQLRequest, caller: str = "somebody") -> Any:
    """Return the first answer of a subscription."""
    async for each in executor.subscribe(executor.prepare(asked), asked, caller):
        return orjson.loads(each.body)["data"]["readings"]
    raise AssertionError("there should be an answer")


@pytest.mark.parametrize(
    "query",
    [
        "subscription { readings { value } }",
        "subscription ($after: Int) { readings(after: $after) { value } }",
        "subscription ($after: Int) { readings(after: $after) { ...it } } fragment it on Reading { value }",
    ],
)
async def test_the_same_is_answered_once(query: str) -> None:
    """Also for readers who begin at different places: variables of the root field choose events, not answers."""
    event = Reading()
    service = executor(event)

    answers = [await answer(service, request(query, {"after": place})) for place in range(5)]

    assert answers == [{"value": 7}] * 5
    assert event.resolutions == 1


@pytest.mark.parametrize(
    "query",
    [
        "subscription ($times: Int) { readings { value(times: $times) } }",
        "subscription ($times: Int) { readings { ...it } } fragment it on Reading { value(times: $times) }",
        "subscription ($times: Int) { ... { readings { value(times: $times) } } }",
    ],
)
@pytest.mark.parametrize("padding", ["", "x" * 2**20], ids=["small", "large"])
async def test_other_variables_below_the_root_are_another_question(query: str, padding: str) -> None:
    """The answers differ, so nothing is shared, also where variables are too large to be kept."""
    service = executor(Reading())

    answers = [await answer(service, request(query, {"times": times, "padding": padding})) for times in (1, 2)]

    assert answers == [{"value": 7}, {"value": 14}]


async def test_a_condition_at_the_root_is_another_question() -> None:
    """One has the field, the other has not."""
    service = executor(Reading())
    query = "subscription ($no: Boolean!) { readings { value @skip(if: $no) __typename } }"

    answers = [await answer(service, request(query, {"no": no})) for no in (False, True)]

    assert answers == [{"value": 7, "__typename": "Reading"}, {"__typename": "Reading"}]


async def test_another_selection_is_another_question() -> None:
    """Whatever was answered before."""
    service = executor(Reading())

    answers = [await answer(service, request(f"subscription {{ readings {{ {name}: value }} }}")) for name in "ab"]

    assert answers == [{"a": 7}, {"b": 7}]


async def test_what_was_read_for_one_caller_is_not_shown_to_another() -> None:
    """A resolver that waits may have read it with the rights of its caller."""
    service = executor(Reading())
    asked = request("subscription { readings { whose } }")

    answers = [await answer(service, asked, caller) for caller in ("anna", "ben")]

    assert answers == [{"whose": "seen by anna"}, {"whose": "seen by ben"}]


async def test_events_that_do_not_say_so_are_not_shared() -> None:
    """Each subscriber has its own answer."""

    class Private:
        resolutions = 0

        def look(self, times: int) -> int:
            self.resolutions += 1
            return self.resolutions

    service = executor(Private())
    asked = request("subscription { readings { value } }")

    assert [await answer(service, asked) for _ in range(2)] == [{"value": 1}, {"value": 2}]
