"""The common operation, compiled once: one root field, and objects, lists and leaves below it.

graphql-core finds each field, its type and its arguments anew for every object of every request; a plan has
found them. But a plan only knows how to succeed. Whatever else comes up (an exception, a null where none may be, a
value that is not what its type says) is handed to graphql-core, which completes the operation from its root
value and says what is wrong, so that every error has one author.

The trap: the root field of a mutation must not be resolved twice. So graphql-core is given what it gave, or
raised. The fields below it may be resolved twice, for they are free of side effects, as GraphQL demands.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    default_field_resolver,
    get_variable_values,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution import VariableValues, get_argument_values
from graphql.pyutils import Path, is_awaitable
from graphql.type import GraphQLResolveInfoHelpers

Resolver = Callable[..., Any]
Complete = Callable[["_Run", Any, Path], Any]
"""Makes what a resolver returned into what is answered, or raises because there is more to it than a plan knows."""


class _NotCommon(Exception):
    """This is for graphql-core."""


class Given(NamedTuple):
    """What a root field came to, although no answer could be made of it; a middleware for graphql-core."""

    value: Any
    error: Exception | None

    def resolve(self, following: Resolver, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        """Stand in for the root field, and leave all others to their resolvers."""
        if info.path.prev is not None:
            return following(source, info, **arguments)
        if self.error is not None:
            raise self.error
        return self.value


class Plan:
    """Executes one operation, as long as all goes well."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode, root: "_Field") -> None:
        self._schema = schema
        self._operation = operation
        self._root = root

    async def execute(self, context: object, variables: dict[str, Any]) -> dict[str, Any] | Given | None:
        """Return the data of the answer, or what the root field came to; None where it was not resolved."""
        values = get_variable_values(self._schema, self._operation.variable_definitions or (), variables, 1, True)
        if isinstance(values, list):
            return None
        run = _Run(self._schema, self._operation, values, context)
        root = self._root
        path = Path(None, root.key, root.parent.name)
        try:
            arguments = root.arguments(values)
        except Exception:  # noqa: BLE001 (graphql-core meets it too, and reports it)
            return None
        value = None
        try:
            value = root.resolve(None, run.info(root, path), **arguments)
            if is_awaitable(value):
                value = await value
        except Exception as error:  # noqa: BLE001 (graphql-core reports it)
            return Given(None, error)
        try:
            data = {root.key: root.complete(run, value, path)}
            await run.settle()
        except Exception:  # noqa: BLE001 (graphql-core meets it too, and reports it)
            run.abandon()
            return Given(value, None)
        return data


def plan(schema: GraphQLSchema, operation: OperationDefinitionNode) -> Plan | None:
    """Compile a valid operation, if it is a common one."""
    parent = schema.get_root_type(operation.operation)
    if operation.operation is OperationType.SUBSCRIPTION or operation.directives or parent is None:
        return None
    try:
        fields = _fields(schema, parent, operation.selection_set)
    except _NotCommon:
        return None
    return Plan(schema, operation, fields[0]) if len(fields) == 1 else None


class _Field:
    """A field of a selection, with everything that does not change from request to request."""

    def __init__(self, schema: GraphQLSchema, parent: GraphQLObjectType, node: FieldNode) -> None:
        definition = schema.get_field(parent, node.name.value)
        if definition is None or node.directives or node.name.value in ("__schema", "__type"):
            raise _NotCommon
        self.definition: GraphQLField = definition
        self.parent = parent
        self.nodes = [node]
        self.name = node.name.value
        self.key = node.alias.value if node.alias else self.name
        self.resolve = definition.resolve or default_field_resolver
        self.complete = _completion(schema, definition.type, node.selection_set)

    def arguments(self, values: VariableValues) -> dict[str, Any]:
        """Return the arguments of the resolver."""
        if not self.definition.args:
            return {}
        return get_argument_values(self.definition, self.nodes[0], values, None, True)


class _Run:
    """One execution of a plan."""

    def __init__(
        self, schema: GraphQLSchema, operation: OperationDefinitionNode, values: VariableValues, context: object
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._context = context
        self._waiting: list[_Waiting] = []
        self.values = values

    def info(self, field: _Field, path: Path) -> GraphQLResolveInfo[Any]:
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
            _HELPERS,
        )

    def wait(self, waiting: "_Waiting") -> None:
        """Leave the place of a field open until its value is there."""
        self._waiting.append(waiting)

    async def settle(self) -> None:
        """Fill the open places, and those that open meanwhile; those of one depth wait together."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            values = [await waiting[0].value] if len(waiting) == 1 else await _gather(each.value for each in waiting)
            for (answer, field, path, _), value in zip(waiting, values, strict=True):
                answer[field.key] = field.complete(self, value, path)

    def abandon(self) -> None:
        """Let go of what nobody will wait for."""
        for waiting in self._waiting:
            asyncio.ensure_future(waiting.value).cancel()


class _Waiting(NamedTuple):
    answer: dict[str, Any]
    field: _Field
    path: Path
    value: Awaitable[Any]


def _fields(schema: GraphQLSchema, parent: GraphQLObjectType, selected: SelectionSetNode) -> list[_Field]:
    fields = []
    for node in selected.selections:
        if not isinstance(node, FieldNode):
            raise _NotCommon
        fields.append(_Field(schema, parent, node))
    if len({field.key for field in fields}) != len(fields):
        raise _NotCommon
    return fields


def _completion(schema: GraphQLSchema, kind: GraphQLOutputType, selected: SelectionSetNode | None) -> Complete:
    if is_non_null_type(kind):
        return _completion_or_error(_completion(schema, kind.of_type, selected))
    if is_list_type(kind):
        return _completion_of_list(_completion(schema, kind.of_type, selected))
    if is_leaf_type(kind):
        return _completion_of_leaf(kind.coerce_output_value)
    if is_object_type(kind) and kind.is_type_of is None and selected is not None:
        return _completion_of_object(kind.name, _fields(schema, kind, selected))
    raise _NotCommon


def _completion_or_error(complete: Complete) -> Complete:
    def complete_non_null(run: _Run, value: Any, path: Path) -> Any:
        completed = complete(run, value, path)
        if completed is None:
            raise _NotCommon
        return completed

    return complete_non_null


def _completion_of_list(complete: Complete) -> Complete:
    def complete_list(run: _Run, value: Any, path: Path) -> list[Any] | None:
        if value is None:
            return None
        if type(value) is not list or any(map(is_awaitable, value)):
            raise _NotCommon
        return [complete(run, item, Path(path, index, None)) for index, item in enumerate(value)]

    return complete_list


def _completion_of_leaf(coerce: Callable[[Any], Any]) -> Complete:
    def complete_leaf(run: _Run, value: Any, path: Path) -> Any:
        del run, path
        if value is None:
            return None
        if isinstance(value, Exception):
            raise value
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise _NotCommon
        return coerced

    return complete_leaf


def _completion_of_object(name: str, fields: Sequence[_Field]) -> Complete:
    def complete_object(run: _Run, source: Any, path: Path) -> dict[str, Any] | None:
        if source is None:
            return None
        if isinstance(source, Exception):
            raise source
        answer: dict[str, Any] = {}
        for field in fields:
            below = Path(path, field.key, name)
            value = field.resolve(source, run.info(field, below), **field.arguments(run.values))
            if is_awaitable(value):
                answer[field.key] = None
                run.wait(_Waiting(answer, field, below, value))
            else:
                answer[field.key] = field.complete(run, value, below)
        return answer

    return complete_object


async def _gather(awaitables: Iterable[Awaitable[Any]]) -> list[Any]:
    """Wait for all; where one fails, none is left behind."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


_HELPERS = GraphQLResolveInfoHelpers(_gather, lambda awaitables: None)
"""graphql-core asks them where a type is abstract, which no plan has."""
