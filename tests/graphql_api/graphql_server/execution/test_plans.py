"""Compiled operations: the answers of graphql-core, byte for byte."""

import asyncio
import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import msgspec
import pytest
import strawberry
from graphql import GraphQLSchema
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.permission import BasePermission

from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest
from graphql_api.graphql_server.execution.plans import RootOutcome
from graphql_api.graphql_server.settings import GraphQLSettings
from graphql_api.schema.resolvers import simplify
from storage.documents.errors import Conflict


@dataclass
class Changes:
    """What mutations did."""

    by: int = 0


class Nobody(BasePermission):
    """Nobody may."""

    message = "nobody may"

    def has_permission(self, source: object, info: strawberry.Info, **arguments: object) -> bool:
        """Refuse."""
        return False


@strawberry.enum
class Colour(Enum):
    """A leaf that is no scalar."""

    RED = "a red one"


@strawberry.input
class Span:
    """An argument that Strawberry converts."""

    first_one: int = 1


@strawberry.type
class Node:
    """Fields that do as they are named."""

    depth: strawberry.Private[int]
    plain_name: str = "a name"
    nothing: str | None = None
    colour: Colour = Colour.RED

    @strawberry.field
    def wrong(self) -> str:
        """Return null where none may be."""
        return None  # type: ignore[return-value]

    @strawberry.field
    def broken(self) -> str | None:
        """Fail."""
        raise Conflict("broken")

    @strawberry.field
    async def late(self) -> str:
        """Answer later."""
        await asyncio.sleep(0)
        return "late"

    @strawberry.field
    async def late_broken(self) -> str | None:
        """Fail later, and not on purpose."""
        await asyncio.sleep(0)
        raise RuntimeError("a secret")

    @strawberry.field
    def times(self, number: int = 3, factors: list[int] | None = None) -> list[int]:
        """Use arguments that need no converting."""
        return [number * factor for factor in factors or [1]]

    @strawberry.field
    def span(self, of: Annotated[Span, strawberry.argument(name="theSpan")]) -> int:
        """Use an argument that does."""
        return of.first_one

    @strawberry.field
    def shown(self, info: strawberry.Info) -> str:
        """Tell what resolvers are told."""
        return f"{info.path.as_list()} {info.field_name} {len(info.selected_fields)} {info.return_type}"

    secret: str | None = strawberry.field(default="secret", permission_classes=[Nobody])

    @strawberry.field
    async def child(self) -> "Node | None":
        """Go deeper."""
        return Node(depth=self.depth + 1) if self.depth < 3 else None

    @strawberry.field
    def children(self) -> list["Node"]:
        """Go deeper, twice."""
        return [Node(depth=self.depth + 1)] * 2 if self.depth < 3 else []

    @strawberry.field
    async def some_broken(self) -> list["Node | None"]:
        """Have an error in a place of a list."""
        some: list[Any] = [Node(depth=4), Conflict("this one"), None]
        return some


@strawberry.type
class Query:
    """Where reading begins."""

    @strawberry.field
    async def node(self) -> Node:
        """Begin."""
        return Node(depth=0)

    @strawberry.field
    def nodes(self, number: int) -> list[Node]:
        """Begin in several places."""
        return [Node(depth=2)] * number

    @strawberry.field
    async def failing(self, late: bool) -> Node | None:
        """End at once, or soon."""
        if late:
            await asyncio.sleep(0)
        raise Conflict("failing")


@strawberry.type
class Mutation:
    """Where changing begins."""

    @strawberry.mutation
    async def change(self, info: strawberry.Info[Changes, None], by: int, then_fail: bool = False) -> Node:
        """Change something, once."""
        info.context.by += by
        if then_fail:
            raise Conflict("changed, but not as it should be")
        return Node(depth=2)


LEAVES = (
    *("plainName", "renamed:plainName", "nothing", "colour", "late", "__typename", "times", "times(number:4)"),
    *("broken", "lateBroken", "wrong", "secret", "times(factors:[2,3])", "times(number:$number)"),
    *("span(theSpan:{firstOne:2})", "plainName@skip(if:true)", "...on Node{plainName}"),
)


def _key(selection: str) -> str:
    """Return the name by which a selection is answered: two of the same name would have to be equal."""
    return re.split(r"[^\w. ]", selection)[0]


def _selections(below: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    nested = st.builds("{}{}".format, st.sampled_from(["child", "children", "someBroken", "other:child"]), below)
    return st.lists(st.one_of(st.sampled_from(LEAVES), nested), min_size=1, max_size=4, unique_by=_key).map(
        lambda fields: f"{{{' '.join(fields)}}}"
    )


SELECTIONS = st.recursive(_selections(st.just("{plainName}")), _selections, max_leaves=6)
ROOTS = ("node", "nodes(number:2)", "failing(late:true)", "failing(late:false)", "two:node", "nodes(number:$number)")
CHANGES = ("change(by:1)", "change(by:$number)", "change(by:1,thenFail:true)")
VARIABLES = "($number:Int!=5,$factors:[Int!])"
USED = "used:times(number:$number,factors:$factors)"  # for a variable must be used
OPERATIONS = st.one_of(
    st.builds("query{}{{{}{}}}".format, st.just(VARIABLES), st.sampled_from(ROOTS), SELECTIONS),
    st.builds("mutation{}{{{}{}}}".format, st.just(VARIABLES), st.sampled_from(CHANGES), SELECTIONS),
).map(lambda query: f"{query[:-2]} {USED}}}}}")
GIVEN = st.sampled_from([b"{}", b'{"number": 7}', b'{"factors": [1, 2]}', b'{"factors": 3}', b'{"number": "seven"}'])
SETTINGS = GraphQLSettings(max_selections=10_000, max_comparisons=1_000_000)


def make_schema() -> GraphQLSchema:
    """Return the schema as Strawberry made it."""
    return strawberry.Schema(query=Query, mutation=Mutation)._schema


STRAWBERRY = Executor(make_schema(), SETTINGS)
SIMPLIFIED = Executor(simplify(make_schema()), SETTINGS)


async def answer(executor: Executor, query: str, variables: bytes, *, planned: bool) -> tuple[bytes, bool, int]:
    """Return the answer, and what changed; ids of errors are not compared."""
    request = GraphQLRequest(query, None, msgspec.Raw(variables), None)
    operation = executor.prepare(request)
    changes = Changes()
    answered = await executor.execute(operation if planned else operation._replace(plan=None), request, changes)
    return re.sub(rb'"id":"[0-9a-f]{32}"', b"", answered.body), answered.is_executed, changes.by


# graphql-core itself leaves coroutines behind where a field next to them fails at once.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <coroutine:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@settings(max_examples=100, deadline=None)
@given(OPERATIONS, GIVEN)
def test_a_plan_answers_as_graphql_core_does(query: str, variables: bytes) -> None:
    """Good or bad, with Strawberry's resolvers or plain ones, and changes are made once."""

    async def compare() -> None:
        as_it_should_be = await answer(STRAWBERRY, query, variables, planned=False)
        assert await answer(STRAWBERRY, query, variables, planned=True) == as_it_should_be
        assert await answer(SIMPLIFIED, query, variables, planned=False) == as_it_should_be
        assert await answer(SIMPLIFIED, query, variables, planned=True) == as_it_should_be

    asyncio.run(compare())


@pytest.mark.parametrize(
    ("query", "common"),
    [
        ("{ node { plainName children { late } } }", True),
        ("{ __typename }", True),
        ("mutation { change(by: 1) { plainName } }", True),
        ("{ node { plainName } __typename }", False),
        ("{ node { ... on Node { plainName } } }", False),
        ("{ node { plainName @skip(if: false) } }", False),
        ("{ node { plainName plainName } }", False),
        ("{ __schema { types { name } } }", False),
    ],
)
def test_only_common_operations_have_a_plan(query: str, common: bool) -> None:
    """The rest is for graphql-core."""
    operation = SIMPLIFIED.prepare(GraphQLRequest(query, None, None, None))

    assert (operation.plan is not None) == common


async def test_a_plan_leaves_nothing_behind_where_a_field_fails() -> None:
    """What nobody waits for any more is ended, not forgotten: a coroutine that was never awaited is a warning."""
    request = GraphQLRequest("{ node { late child { late } broken } }", None, None, None)
    operation = STRAWBERRY.prepare(request)
    assert operation.plan is not None

    outcome = await operation.plan.execute(Changes(), {})

    assert isinstance(outcome, RootOutcome)
    assert isinstance(outcome.value, Node)


async def test_a_plan_does_not_ask_graphql_core_where_all_is_well() -> None:
    """Else it would be no quicker; whom a resolver is told about shows who executes."""
    request = GraphQLRequest("{ node { shown } }", None, None, None)
    operation = SIMPLIFIED.prepare(request)
    assert operation.plan is not None

    data = await operation.plan.execute(Changes(), {})

    assert isinstance(data, dict)
    assert data["node"]["shown"].startswith("['node', 'shown']")
