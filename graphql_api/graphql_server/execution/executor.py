"""Executes operations. A query or mutation has one response. A subscription has one response for each event.

At the time limit, the executor cancels the task that runs the resolvers. A resolver that must not be interrupted has to
use `asyncio.shield`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, MiddlewareManager, OperationType
from graphql.execution import Executor as GraphQLExecutor
from graphql.execution import create_source_event_stream, execute_subscription_event
from graphql.pyutils import is_awaitable

from graphql_api.budgets.budgets import HEAVY_COST, SubmitterBudget
from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES, MemoryBudget, Reservation
from graphql_api.error_entries import describe_unexpected
from graphql_api.graphql_server.execution import responses
from graphql_api.graphql_server.execution.document_validator import MAX_ERRORS
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest
from graphql_api.graphql_server.execution.operations import MIN_PACED_COST, Operation, Operations
from graphql_api.graphql_server.execution.paced_executor import AcyclicExecutor, PacedExecutor
from graphql_api.graphql_server.execution.plans import RootOutcome
from graphql_api.graphql_server.execution.responses import GraphQLResponse, SelectionKey, SharedEvent
from graphql_api.graphql_server.operation_context import OperationContext
from graphql_api.graphql_server.settings import KIB, MIB, GraphQLSettings
from storage.documents.errors import DropzoneError, RetryLater, Unavailable

_LARGE_VARIABLE_BYTES = 1 * MIB
_SHORT_VARIABLE_BYTES = 4 * KIB
"""Reading this number of bytes of input objects takes about a millisecond. Longer variables are read in a turn."""
_MAX_SHARED_RESPONSES = 10  # per event, because an event may stay in the result log for a long time
_MAX_SHARED_BYTES = 16 * 1024  # of these responses
_STREAM_COPIES = 2  # a response, and the event or the message that contains it


class Executor:
    """Executes requests against one schema. The protocols read the same `settings`."""

    def __init__(self, schema: GraphQLSchema, settings: GraphQLSettings, memory_budget: MemoryBudget) -> None:
        self._memory_budget = memory_budget
        self._schema = schema
        self.settings = settings
        self._operations = Operations(schema, settings)

    def is_prepared(self, request: GraphQLRequest) -> bool:
        """Return whether the document is in the cache, so that `prepare` returns at once."""
        return self._operations.is_cached(request)

    async def prepare(self, request: GraphQLRequest, context: OperationContext) -> Operation:
        """Return the operation of a request. Raises `InvalidOperation`, or `RateLimited` if too many requests wait."""
        return await self._operations.find(request, context.budget)

    def check_memory(self) -> None:
        """Raise `Unavailable` if the process has no memory for further operations now."""
        self._memory_budget.check_resident()

    def new_reservation(self, context: OperationContext) -> Reservation:
        """Return an empty reservation for the memory of a request. It counts towards the share of the submitter."""
        return self._memory_budget.new_reservation(context.budget.request_bytes)

    def check_room(self, context: OperationContext) -> None:
        """Raise `RateLimited` or `Unavailable` if no further subscription can start now."""
        self.check_memory()
        with context.budget.subscriptions.hold():
            pass

    async def execute(
        self, operation: Operation, request: GraphQLRequest, context: OperationContext
    ) -> GraphQLResponse:
        """Execute a query or mutation. Raises `DropzoneError` if a variable cannot be read.

        The operation waits if operations of its submitter use too much cost at the same time.
        """
        variables = await self._read_variables(operation, request, context)
        cost = operation.cost.of(variables)
        try:
            operation.cost.check(cost, self.settings.max_operation_cost)
            document_cost = self._operations.document_cost(request)
            budget, held = context.budget.cost(cost + document_cost)
            if cost >= HEAVY_COST:
                self.check_memory()
            async with asyncio.timeout(self.settings.execution_timeout_seconds):
                if not budget.take_if_free(held):
                    # Otherwise, all waiting documents would be read and kept in memory before the first is executed.
                    await budget.take(held, is_urgent=document_cost > 0)
                try:
                    if operation.variables.has_raw_scalars:
                        request.release_variables()  # the resolvers keep the bytes of the body
                    else:
                        request.release_memory()
                    response = await self._execute(operation, variables, context, cost)
                    request.release_memory()
                    _reserve_response(operation, context, len(response.body))
                    return response
                finally:
                    budget.give_back(held)
        except DropzoneError as error:
            return responses.from_error(error)
        except TimeoutError:
            seconds = self.settings.execution_timeout_seconds
            return responses.from_error(
                Unavailable(f"the operation did not finish within {seconds:g} s; its changes may still be stored")
            )
        except Exception as error:  # noqa: BLE001 (any error is logged and masked)
            return responses.from_payload({"errors": [describe_unexpected(error, str(operation))]}, operation)

    async def _execute(
        self, operation: Operation, variables: dict[str, Any], context: OperationContext, cost: int
    ) -> GraphQLResponse:
        turn = None
        if cost >= MIN_PACED_COST:
            turn = context.budget.turn()
            await turn.start()
        outcome = await operation.plan.execute(context, variables, turn) if operation.plan else None
        if isinstance(outcome, dict):
            await _encode_lists(outcome, operation, context, turn)
            return responses.from_payload({"data": outcome}, operation)
        middleware = MiddlewareManager(outcome) if isinstance(outcome, RootOutcome) else None
        executor = self._build(operation, variables, context, middleware=middleware, turn=turn)
        if isinstance(executor, list):
            return responses.from_result(ExecutionResult(None, errors=executor), operation)
        result: Any = executor.execute_operation()
        if is_awaitable(result):
            result = await result
        if operation.type is OperationType.MUTATION:
            for error in result.errors or ():
                responses.mark_executed(error)
        await _encode_lists(result.data, operation, context, turn)
        return responses.from_result(result, operation)

    async def subscribe(
        self, operation: Operation, request: GraphQLRequest, context: OperationContext
    ) -> AsyncGenerator[GraphQLResponse, None]:
        """Execute an operation of any type and yield its responses.

        The caller takes the next response when its client has received almost all of the previous one. Until then,
        memory for a large response stays reserved.
        If the event source of a subscription fails, the last response contains the error.
        """
        resources = AsyncExitStack()
        try:
            if operation.type is not OperationType.SUBSCRIPTION:
                response = await self.execute(operation, request, context)
                _reserve_response(operation, context, _STREAM_COPIES * len(response.body))
                yield response
                return
            self.check_memory()
            resources.enter_context(context.budget.subscriptions.hold())
            key = operation.selection_key(request)  # before the variables are read, because reading may release them
            executor, events, cost = await self._open(operation, request, context)
            request.release_memory()
            if isinstance(events, ExecutionResult):
                yield responses.from_result(events, operation)
                return
            resources.push_async_callback(events.aclose)
            try:
                async for event in events:
                    response = await self._execute_event(executor, operation, key, event, context.budget, cost)
                    context.end_reads(_STREAM_COPIES * len(response.body))
                    yield response
                    context.end_reads()
                    # Without this, a source that never waits would block the event loop and could not be cancelled.
                    await asyncio.sleep(0)
            except Exception as error:  # noqa: BLE001 (any error is logged and masked)
                yield responses.from_source_error(executor.locate(error), operation)
        except DropzoneError as error:
            yield responses.from_error(error)
        except Exception as error:  # noqa: BLE001 (any error is logged and masked)
            yield responses.from_payload({"errors": [describe_unexpected(error, str(operation))]}, operation)
        finally:
            context.end_reads()
            await resources.aclose()  # gives the budget back even if closing `events` fails or is cancelled

    async def _read_variables(
        self, operation: Operation, request: GraphQLRequest, context: OperationContext
    ) -> dict[str, Any]:
        """Return the variables of an operation. If they are long, read them in steps, and release the body."""
        size = 0 if request.variables is None else len(memoryview(request.variables))
        max_size = MIN_RESERVED_BYTES if operation.variables.has_raw_scalars else _SHORT_VARIABLE_BYTES
        if size <= max_size and request.placeholders is None:
            return operation.variables.read(request.variables)
        turn = context.budget.turn()
        await turn.start()
        variables = operation.variables.read(request.variables, request.placeholders)
        if size > _LARGE_VARIABLE_BYTES or request.placeholders is not None:
            await turn.start()
            variables = {name: _copy(value) for name, value in variables.items()}
            request.release_variables()
            await turn.start()
        return variables

    async def _open(
        self, operation: Operation, request: GraphQLRequest, context: OperationContext
    ) -> tuple[Any, Any, int]:
        """Return an executor, the events of a subscription, and the cost of an event.

        If this fails, return None and a result with errors instead of the executor and the events.
        """
        variables = await self._read_variables(operation, request, context)
        cost = operation.cost.of(variables)
        operation.cost.check(cost, self.settings.max_operation_cost)
        executor = self._build(operation, variables, context)
        if isinstance(executor, list):
            return None, ExecutionResult(None, errors=executor), cost
        try:
            async with asyncio.timeout(self.settings.execution_timeout_seconds):
                events = create_source_event_stream(executor)
                return executor, await events if is_awaitable(events) else events, cost
        except TimeoutError:
            seconds = self.settings.execution_timeout_seconds
            raise Unavailable(f"the subscription did not start within {seconds:g} s; subscribe again") from None

    def _build(
        self,
        operation: Operation,
        variables: dict[str, Any],
        context: object,
        *,
        turn: LoopTurn | None = None,
        middleware: MiddlewareManager | None = None,
    ) -> GraphQLExecutor[Any] | list[GraphQLError]:
        """Return an executor of graphql-core, or the errors in `variables`. With `turn`, the executor pauses."""
        build = AcyclicExecutor.build if turn is None else partial(PacedExecutor.build, turn=turn)
        return build(
            self._schema,
            operation.document,
            context_value=context,
            raw_variable_values=variables,
            operation_name=operation.name,
            max_coercion_errors=MAX_ERRORS,
            hide_suggestions=True,
            middleware=middleware,
        )

    async def _execute_event(
        self, executor: Any, operation: Operation, key: SelectionKey, event: object, budget: SubmitterBudget, cost: int
    ) -> GraphQLResponse:
        """Execute an operation for an event. For a shared event, execute the operation only once per selection key.

        An event can wake thousands of subscriptions at the same time, and each execution can read documents.
        """
        shared = event if isinstance(event, SharedEvent) else None
        if shared is not None and (known := shared.responses.get(key)) is not None:
            return known
        async with budget.event_cost.hold(max(cost, budget.min_heavy_cost)):
            if shared is not None and (known := shared.responses.get(key)) is not None:  # executed meanwhile
                return known
            if shared is not None:
                shared.executions += 1
            if shared is None or shared.executions > _MAX_SHARED_RESPONSES:
                await budget.turn().start()
            result: Any = execute_subscription_event(executor.build_per_event_executor(event))
            has_awaited = is_awaitable(result)
            response = responses.from_result(await result if has_awaited else result, operation)
        if shared is None:
            return response
        response = response._replace(cursor=shared.cursor)
        # Awaited values come from the loaders of one caller, so such a response is not shared.
        if not has_awaited and response.is_executed and len(shared.responses) < _MAX_SHARED_RESPONSES:
            shared_bytes = sum(len(each.body) for each in shared.responses.values())
            if shared_bytes + len(response.body) <= _MAX_SHARED_BYTES:
                shared.responses[key] = response
        return response


def _reserve_response(operation: Operation, context: OperationContext, response_bytes: int) -> None:
    """Reserve memory for a response that is not sent. Raises `Unavailable` if a mutation may have changed documents."""
    try:
        context.end_reads(response_bytes)
    except RetryLater as error:
        raise responses.executed(error) if operation.type is OperationType.MUTATION else error from None


async def _encode_lists(
    data: dict[str, Any] | None, operation: Operation, context: OperationContext, turn: LoopTurn | None
) -> None:
    """Encode the lists of a heavy operation in steps. Never refuse the response to a mutation: it was executed."""
    if data and turn is not None:
        check = context.check_response if operation.type is OperationType.QUERY else None
        await responses.encode_lists(data, turn, check, context.fields_with_documents())


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return bytes(value) if isinstance(value, msgspec.Raw) else value
