"""One execution of a plan: its fields, and the fields and lists that it completes later.

If a resolver returns a value without waiting, the plan completes this value immediately. It awaits all other values
level by level.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    default_field_resolver,
)
from graphql.execution import VariableValues, get_argument_values
from graphql.pyutils import Path, is_awaitable

from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.graphql_server.execution.paced_executor import HELPERS, gather

Complete = Callable[["Run", Any, Path], Any]
"""Converts the value of a resolver to response data. Raises an exception if plans do not support the value."""

_MIN_PAUSED_ITEMS = 10


class Field:
    """A selected field, with all facts that do not depend on the request."""

    def __init__(
        self, parent: GraphQLObjectType, node: FieldNode, definition: GraphQLField, complete: "Complete"
    ) -> None:
        self.definition = definition
        self.parent = parent
        self.nodes = [node]
        self.name = node.name.value
        self.key = node.alias.value if node.alias else self.name
        self.resolve = definition.resolve or default_field_resolver
        self.complete = complete

    def arguments(self, values: VariableValues) -> dict[str, Any]:
        """Return the arguments of the resolver."""
        if not self.definition.args:
            return {}
        return get_argument_values(self.definition, self.nodes[0], values, None, True)


class Run:
    """One execution of a plan."""

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        values: VariableValues,
        context: object,
        turn: LoopTurn | None,
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._context = context
        self._turn = turn
        self._pending: list[PendingField] = []
        self._pending_lists: list[_PendingList] = []
        self.values = values

    def info(self, field: Field, path: Path) -> GraphQLResolveInfo[Any]:
        """Return the argument `info` of the resolver of a field."""
        return GraphQLResolveInfo(
            field.name,
            field.nodes,
            field.definition.type,
            field.parent,
            path,
            self._schema,
            {},
            None,
            self._operation,
            self.values,
            self._context,
            is_awaitable,
            None,
            HELPERS,
        )

    def add_pending(self, field: "PendingField") -> None:
        """Register a field whose value is not available yet."""
        self._pending.append(field)

    def complete_items(self, items: list[Any], complete: Complete, path: Path) -> list[Any]:
        """Return the completed items of a list. In a heavy operation, `complete_pending` adds them to the list."""
        if self._turn is None or len(items) < _MIN_PAUSED_ITEMS:
            return [complete(self, item, Path(path, index, None)) for index, item in enumerate(items)]
        completed: list[Any] = []
        self._pending_lists.append(_PendingList(completed, items, complete, path))
        return completed

    async def complete_pending(self) -> None:
        """Complete the pending fields level by level. Await the values of one level concurrently."""
        while self._pending or self._pending_lists:
            await self._complete_lists()
            pending, self._pending = self._pending, []
            values = [await pending[0].value] if len(pending) == 1 else await gather(each.value for each in pending)
            for (data, field, path, _), value in zip(pending, values, strict=True):
                if self._turn is not None:
                    await self._turn.pause()
                data[field.key] = field.complete(self, value, path)

    async def _complete_lists(self) -> None:
        while self._pending_lists:
            completed, items, complete, path = self._pending_lists.pop()
            for index, item in enumerate(items):
                assert self._turn is not None
                await self._turn.pause()
                completed.append(complete(self, item, Path(path, index, None)))

    def cancel(self) -> None:
        """Cancel the pending fields. Without this, Python would warn about coroutines that were never awaited."""
        for field in self._pending:
            asyncio.ensure_future(field.value).cancel()


class PendingField(NamedTuple):
    """A field whose value is not available yet."""

    data: dict[str, Any]
    field: Field
    path: Path
    value: Awaitable[Any]


class _PendingList(NamedTuple):
    completed: list[Any]
    items: list[Any]
    complete: Complete
    path: Path
