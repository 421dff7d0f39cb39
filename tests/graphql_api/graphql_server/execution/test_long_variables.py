"""Operations with long variables let other requests run."""

import asyncio

import msgspec

from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest
from graphql_api.graphql_server.settings import MIB, GraphQLSettings
from tests.graphql_api.graphql_server.example import make_schema
from tests.graphql_api.graphql_server.service import ExampleContext
from tests.graphql_api.turns import counted_turns

VARIABLES = b'{"name":"%b"}' % (b"x" * 5_000)


async def test_operations_with_long_variables_read_them_in_turns() -> None:
    """Reading 800 input objects takes 5 ms, even if the operation itself costs little."""
    executor = Executor(make_schema(), GraphQLSettings(), MemoryBudget(MIB))
    context, query = ExampleContext.of_somebody(), "query($name: String!) { hello(name: $name) }"
    requests = [GraphQLRequest(query, None, msgspec.Raw(VARIABLES)) for _ in range(50)]
    operation = await executor.prepare(requests[0], context)
    async with counted_turns() as turns:
        before = turns.count
        responses = await asyncio.gather(*(executor.execute(operation, each, context) for each in requests))

    assert all(response.is_executed for response in responses)
    assert turns.count - before >= 50
