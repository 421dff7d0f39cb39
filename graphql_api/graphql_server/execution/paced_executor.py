"""graphql-core's executor without reference cycles, and with pauses for heavy operations.

graphql-core resolves the fields of the root and completes a list without a pause. `PacedExecutor` pauses between these
fields, and between the items of a list.

In graphql-core, the executor and its helpers refer to each other. Such a cycle keeps the executor in memory until the
garbage collector runs, together with the context and the variables of the operation.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Collection, Iterable
from typing import Any

from graphql import FieldNode, FragmentSpreadNode, GraphQLError, located_error
from graphql.execution import Executor
from graphql.pyutils import Path
from graphql.type import GraphQLResolveInfoHelpers

from graphql_api.budgets.loop_turns import LoopTurn


class AcyclicExecutor(Executor[Any]):
    """Executes one operation without pauses. The default executor is slower: it supports incremental delivery."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.async_helpers = HELPERS

    def locate(self, error: Exception) -> GraphQLError:
        """Return an error of the event source of a subscription, with the position of the only root field."""
        node: Any = self.operation
        while not isinstance(node, FieldNode):  # the field can be in fragments
            holder = self.fragments[node.name.value].definition if isinstance(node, FragmentSpreadNode) else node
            node = holder.selection_set.selections[0]
        return located_error(error, [node], [(node.alias or node.name).value])


class PacedExecutor(AcyclicExecutor):
    """Executes one heavy operation, with pauses in the steps of `turn`."""

    def __init__(self, *arguments: Any, turn: LoopTurn, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._turn = turn

    def execute_field(
        self, parent_type: Any, source: Any, field_details_list: Any, path: Path, position_context: Any
    ) -> Any:
        """Resolve a field. Each field of the root can read long arguments, such as a variable with a long list."""
        arguments = parent_type, source, field_details_list, path, position_context
        return super().execute_field(*arguments) if path.prev is not None else self._execute_after_pause(*arguments)

    async def _execute_after_pause(self, *arguments: Any) -> Any:
        await self._turn.pause()
        value = super().execute_field(*arguments)
        return await value if self.is_awaitable(value) else value

    def complete_list_value(
        self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any
    ) -> Any:
        """Complete the items of a list, with pauses."""
        if isinstance(result, Collection) and len(result) > 1:
            result = _paced(result, self._turn)
        return super().complete_list_value(return_type, field_details_list, info, path, result, position_context)

    async def complete_awaitable_value(
        self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any
    ) -> Any:
        """Complete the value of an awaitable after a pause. Many awaitables can get their values at the same time."""
        return await super().complete_awaitable_value(
            return_type, field_details_list, info, path, _after_pause(result, self._turn), position_context
        )


async def _paced(items: Iterable[Any], turn: LoopTurn) -> AsyncGenerator[Any, None]:
    for item in items:
        await turn.pause()
        yield item


async def _after_pause(awaitable: Awaitable[Any], turn: LoopTurn) -> Any:
    value = await awaitable
    await turn.pause()
    return value


async def gather(awaitables: Iterable[Awaitable[Any]]) -> list[Any]:
    """Return the values of all `awaitables`. If one fails, cancel all others and wait until they end."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


HELPERS = GraphQLResolveInfoHelpers(gather, lambda awaitables: None)
"""The helpers for resolvers of abstract types. The schemas that this server executes have no abstract types."""
