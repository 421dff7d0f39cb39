"""An operation becomes answers: one, or one for each event.

A trap: graphql-core keeps running when a resolver does; the time limit cancels what it awaits, so a
resolver that must not be interrupted has to shield its own work.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

import msgspec
from graphql import ExecutionResult, GraphQLSchema, MiddlewareManager, OperationType, execute
from graphql.execution import Executor as PlainExecutor
from graphql.execution import create_source_event_stream, execute_subscription_event

from graphql_api import errors
from graphql_api.graphql_server.execution import responses
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest
from graphql_api.graphql_server.execution.operations import MAX_ERRORS, Operation, Operations
from graphql_api.graphql_server.execution.plans import Given
from graphql_api.graphql_server.execution.responses import Answer
from graphql_api.graphql_server.execution.shared_events import Question, SharedEvent
from graphql_api.graphql_server.settings import BREATH_SECONDS, TransportSettings
from storage.documents.errors import DropzoneError, Unavailable

LARGE_VARIABLES = 1024 * 1024
MAX_SHARED_ANSWERS = 10  # of one event, which may be kept for long


class Executor:
    """Executes requests against one schema."""

    def __init__(self, schema: GraphQLSchema, settings: TransportSettings) -> None:
        self._schema = schema
        self._settings = settings
        self._operations = Operations(schema, settings)

    def prepare(self, request: GraphQLRequest) -> Operation:
        """Find the operation that is asked for, or raise `InvalidOperation`."""
        return self._operations.find(request)

    async def execute(self, operation: Operation, request: GraphQLRequest, context: object) -> Answer:
        """Execute a query or mutation."""
        variables = await self._read_variables(operation, request)
        try:
            async with asyncio.timeout(self._settings.execution_seconds):
                came_to = await operation.plan.execute(context, variables) if operation.plan else None
                if isinstance(came_to, dict):
                    return responses.of_payload({"data": came_to}, operation)
                result = execute(
                    self._schema,
                    operation.document,
                    context_value=context,
                    variable_values=variables,
                    operation_name=operation.name,
                    max_coercion_errors=MAX_ERRORS,
                    middleware=MiddlewareManager(came_to) if isinstance(came_to, Given) else None,
                    # The default one is ready to deliver incrementally, which costs and is not spoken here.
                    executor_class=PlainExecutor,
                    hide_suggestions=True,
                )
                if not isinstance(result, ExecutionResult):
                    result = await result
        except TimeoutError:
            return responses.refused(Unavailable("This took longer than we let it; what it began may still be done."))
        except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is logged and masked)
            return responses.of_payload({"errors": [errors.describe_unexpected(error, str(operation))]}, operation)
        return responses.of_result(result, operation)

    async def subscribe(
        self, operation: Operation, request: GraphQLRequest, context: object
    ) -> AsyncGenerator[Answer, None]:
        """Execute an operation of any type, yielding its answers.

        A source that fails ends the subscription with an answer that says so.
        """
        stream: Any = None
        try:
            if operation.type is not OperationType.SUBSCRIPTION:
                yield await self.execute(operation, request, context)
                return
            question = operation.question(request)  # before its variables are let go
            executor, stream = await self._open(operation, request, context)
            if isinstance(stream, ExecutionResult):
                yield responses.of_result(stream, operation)
                return
            async for event in stream:
                yield await self._answer_event(executor, operation, question, event)
                # A source that never waits would keep everyone else waiting, and could not be cancelled.
                await asyncio.sleep(0)
        except DropzoneError as error:
            yield responses.refused(error)
        except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is logged and masked)
            yield responses.of_payload({"errors": [errors.describe_unexpected(error, str(operation))]}, operation)
        finally:
            if stream is not None and not isinstance(stream, ExecutionResult):
                await stream.aclose()

    async def _read_variables(self, operation: Operation, request: GraphQLRequest) -> dict[str, Any]:
        variables = operation.variables.read(request.variables, request.omission)
        size = 0 if request.variables is None else len(memoryview(request.variables))
        if size > LARGE_VARIABLES or request.omission is not None:
            await asyncio.sleep(BREATH_SECONDS)  # others have their turn before resolvers have theirs
            variables = {name: _copied(value) for name, value in variables.items()}
            request.variables = request.omission = None  # with the body, of which nothing is needed any more
            await asyncio.sleep(BREATH_SECONDS)
        return variables

    async def _open(self, operation: Operation, request: GraphQLRequest, context: object) -> tuple[Any, Any]:
        """Return what executes an operation for each event, and its events; or why there are none."""
        variables = await self._read_variables(operation, request)
        executor = PlainExecutor.build(
            self._schema,
            operation.document,
            context_value=context,
            raw_variable_values=variables,
            operation_name=operation.name,
            max_coercion_errors=MAX_ERRORS,
            hide_suggestions=True,
        )
        if isinstance(executor, list):
            return None, ExecutionResult(None, errors=executor)
        try:
            async with asyncio.timeout(self._settings.execution_seconds):
                stream = create_source_event_stream(executor)
                return executor, await stream if isinstance(stream, Awaitable) else stream
        except TimeoutError:
            raise Unavailable("The subscription took too long to begin.") from None

    async def _answer_event(self, executor: Any, operation: Operation, question: Question, event: object) -> Answer:
        """Execute an operation for an event; where the event is shared, once for all who ask the same."""
        shared = event if isinstance(event, SharedEvent) else None
        if shared is not None and isinstance(known := shared.answers.get(question), Answer):
            return known
        result: Any = execute_subscription_event(executor.build_per_event_executor(event))
        waited = isinstance(result, Awaitable)
        answer = responses.of_result(await result if waited else result, operation)
        if shared is not None:
            answer = answer._replace(cursor=shared.cursor)
        # What was waited for was read for one caller, with the loaders of its context.
        if shared is not None and not waited and answer.executed and len(shared.answers) < MAX_SHARED_ANSWERS:
            shared.answers[question] = answer
        return answer


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return bytes(value) if isinstance(value, msgspec.Raw) else value
