"""Execution plans: their responses equal those of graphql-core byte for byte."""

import asyncio
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

import msgspec
import pytest
import strawberry
from graphql import GraphQLSchema
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.permission import BasePermission

from graphql_api.budgets.allowance import Allowance
from graphql_api.budgets.budgets import Budgets, SubmitterBudget
from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest
from graphql_api.graphql_server.execution.plans import RootOutcome
from graphql_api.graphql_server.settings import MIB, GraphQLSettings
from graphql_api.schema.direct_resolvers import use_direct_resolvers
from storage.documents.errors import Conflict


@dataclass
class Changes:
    """The effects of mutations, as the context of an operation."""

    by: int = 0
    budget: SubmitterBudget = field(default_factory=lambda: Budgets(Limits()).submitter("somebody"))
    allowance: Allowance = field(default_factory=lambda: Allowance(Limits(), None))

    def end_reads(self, response_bytes: int = 0) -> None:
        """Do nothing: the operations read no documents."""

    def check_response(self, byte_count: int) -> None:
        """Accept a response of any size."""

    def fields_with_documents(self) -> tuple[str, ...]:
        """Return no fields: the operations read no documents."""
        return ()


class Forbidden(BasePermission):
    """Denies access to every caller."""

    message = "no caller may read this"

    def has_permission(self, source: object, info: strawberry.Info, **arguments: object) -> bool:
        """Refuse."""
        return False


@strawberry.enum
class Colour(Enum):
    """A leaf that is not a scalar."""

    RED = "a red one"


@strawberry.input
class Span:
    """An argument that Strawberry converts."""

    first_one: int = 1


@strawberry.type
class Node:
    """Fields that behave as their names say."""

    depth: strawberry.Private[int]
    plain_name: str = "a name"
    nothing: str | None = None
    colour: Colour = Colour.RED

    @strawberry.field
    def wrong(self) -> str:
        """Return null for a non-null field."""
        return None  # type: ignore[return-value]

    @strawberry.field
    def broken(self) -> str | None:
        """Raise an error that clients see."""
        raise Conflict("broken")

    @strawberry.field
    async def late(self) -> str:
        """Return after another turn of the event loop."""
        await asyncio.sleep(0)
        return "late"

    @strawberry.field
    async def late_broken(self) -> str | None:
        """Raise an unexpected error after another turn of the event loop."""
        await asyncio.sleep(0)
        raise RuntimeError("a secret")

    @strawberry.field
    def times(self, number: int = 3, factors: list[int] | None = None) -> list[int]:
        """Use arguments that are not converted."""
        return [number * factor for factor in factors or [1]]

    @strawberry.field
    def span(self, of: Annotated[Span, strawberry.argument(name="theSpan")]) -> int:
        """Use an argument that is converted."""
        return of.first_one

    @strawberry.field
    def shown(self, info: strawberry.Info) -> str:
        """Return what the resolver receives in `info`."""
        return f"{info.path.as_list()} {info.field_name} {len(info.selected_fields)} {info.return_type}"

    secret: str | None = strawberry.field(default="secret", permission_classes=[Forbidden])

    @strawberry.field
    async def child(self) -> "Node | None":
        """Return a node one level below."""
        return Node(depth=self.depth + 1) if self.depth < 3 else None

    @strawberry.field
    def children(self) -> list["Node"]:
        """Return two nodes one level below."""
        return [Node(depth=self.depth + 1)] * 2 if self.depth < 3 else []

    @strawberry.field
    async def some_broken(self) -> list["Node | None"]:
        """Return a list with an error."""
        some: list[Any] = [Node(depth=4), Conflict("this one"), None]
        return some


@strawberry.type
class Query:
    """The root fields of queries."""

    @strawberry.field
    async def node(self) -> Node:
        """Return a node."""
        return Node(depth=0)

    @strawberry.field
    def nodes(self, number: int) -> list[Node]:
        """Return several nodes."""
        return [Node(depth=2)] * number

    @strawberry.field
    async def failing(self, late: bool) -> Node | None:
        """Raise an error at once or later."""
        if late:
            await asyncio.sleep(0)
        raise Conflict("failing")


@strawberry.type
class Mutation:
    """The root field of mutations."""

    @strawberry.mutation
    async def change(self, info: strawberry.Info[Changes, None], by: int, then_fail: bool = False) -> Node:
        """Change something, once."""
        info.context.by += by
        if then_fail:
            raise Conflict("changed, then failed")
        return Node(depth=2)


LEAVES = (
    *("plainName", "renamed:plainName", "nothing", "colour", "late", "__typename", "times", "times(number:4)"),
    *("broken", "lateBroken", "wrong", "secret", "times(factors:[2,3])", "times(number:$number)"),
    *("span(theSpan:{firstOne:2})", "plainName@skip(if:true)", "...on Node{plainName}"),
)


def _key(selection: str) -> str:
    """Return the response name of a selection. Two selections with the same name would have to be equal."""
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
USED = "used:times(number:$number,factors:$factors)"  # GraphQL requires that each variable is used
OPERATIONS = st.one_of(
    st.builds("query{}{{{}{}}}".format, st.just(VARIABLES), st.sampled_from(ROOTS), SELECTIONS),
    st.builds("mutation{}{{{}{}}}".format, st.just(VARIABLES), st.sampled_from(CHANGES), SELECTIONS),
).map(lambda query: f"{query[:-2]} {USED}}}}}")
GIVEN = st.sampled_from([b"{}", b'{"number": 7}', b'{"factors": [1, 2]}', b'{"factors": 3}', b'{"number": "seven"}'])
SETTINGS = GraphQLSettings(max_selections=10_000, max_comparisons=1_000_000)


def make_schema() -> GraphQLSchema:
    """Return the schema as Strawberry made it."""
    return strawberry.Schema(query=Query, mutation=Mutation)._schema


STRAWBERRY = Executor(make_schema(), SETTINGS, MemoryBudget(MIB))
SIMPLIFIED = Executor(use_direct_resolvers(make_schema()), SETTINGS, MemoryBudget(MIB))


async def execute(executor: Executor, query: str, variables: bytes, *, planned: bool) -> tuple[bytes, bool, int]:
    """Return the response without ids of errors, whether it was executed, and the sum of the changes."""
    request = GraphQLRequest(query, None, msgspec.Raw(variables), None)
    changes = Changes()
    operation = await executor.prepare(request, changes)
    response = await executor.execute(operation if planned else operation._replace(plan=None), request, changes)
    return re.sub(rb'"id":"[0-9a-f]{32}"', b"", response.body), response.is_executed, changes.by


# graphql-core does not await the coroutines of a selection in which another field raises at once.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <coroutine:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@settings(max_examples=100, deadline=None)
@given(OPERATIONS, GIVEN)
def test_a_plan_responds_like_graphql_core(query: str, variables: bytes) -> None:
    """With and without errors, with the resolvers of Strawberry or plain ones. Mutations run once."""

    async def compare() -> None:
        expected = await execute(STRAWBERRY, query, variables, planned=False)
        assert await execute(STRAWBERRY, query, variables, planned=True) == expected
        assert await execute(SIMPLIFIED, query, variables, planned=False) == expected
        assert await execute(SIMPLIFIED, query, variables, planned=True) == expected

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
async def test_only_common_operations_have_a_plan(query: str, common: bool) -> None:
    """graphql-core executes all others."""
    operation = await SIMPLIFIED.prepare(GraphQLRequest(query, None, None, None), Changes())

    assert (operation.plan is not None) == common


async def test_a_plan_cancels_pending_fields_if_a_field_fails() -> None:
    """A coroutine that is never awaited would cause a warning."""
    request = GraphQLRequest("{ node { late child { late } broken } }", None, None, None)
    operation = await STRAWBERRY.prepare(request, Changes())
    assert operation.plan is not None

    outcome = await operation.plan.execute(Changes(), {})

    assert isinstance(outcome, RootOutcome)
    assert isinstance(outcome.value, Node)


async def test_a_plan_executes_a_successful_operation_alone() -> None:
    """The `info` that the resolver receives shows that the plan called it."""
    request = GraphQLRequest("{ node { shown } }", None, None, None)
    operation = await SIMPLIFIED.prepare(request, Changes())
    assert operation.plan is not None

    data = await operation.plan.execute(Changes(), {})

    assert isinstance(data, dict)
    assert data["node"]["shown"].startswith("['node', 'shown']")
