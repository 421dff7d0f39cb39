"""A request becomes an answer: parse, measure, validate, execute.

Operations that were parsed and found valid are kept by their text, so the common request pays for
none of the first three. Every answer is made into bytes here, once, whatever carries it.

A trap: graphql-core keeps running when a resolver does; the time limit cancels what it awaits, so a
resolver that must not be interrupted has to shield its own work.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Any, NamedTuple, cast

import msgspec
import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    MiddlewareManager,
    OperationDefinitionNode,
    OperationType,
    execute,
    parse,
    validate,
)
from graphql.execution import Executor as PlainExecutor
from graphql.execution import create_source_event_stream, execute_subscription_event

from documents.errors import BadRequest, DropzoneError, Unavailable
from graphql_api import errors
from graphql_api.errors import TooComplex
from graphql_api.transport import limits
from graphql_api.transport.plans import Given, Plan, plan
from graphql_api.transport.requests import GraphQLRequest, VariableReader
from graphql_api.transport.settings import BREATH_SECONDS, TransportSettings
from graphql_api.transport.sharing import Question, SharedEvent, uses_variables

MOST_ERRORS = 10
LARGE_VARIABLES = 1024 * 1024
MOST_SHARED_ANSWERS = 10  # of one event, which may be kept for long


class Answer(NamedTuple):
    """The JSON of a GraphQL response, and what HTTP needs to know about it."""

    body: bytes
    executed: bool
    retry_after: int | None = None
    """Set where nothing succeeded because something that we need is unavailable."""
    cursor: str = ""
    """Of an event: from where a subscriber can go on."""


class InvalidOperation(Exception):
    """The request will not be executed; `answer` says why."""

    def __init__(self, described: Sequence[dict[str, Any]]) -> None:
        super().__init__(described[0]["message"])
        self.answer = Answer(orjson.dumps({"errors": described}), executed=False)


class Operation(NamedTuple):
    """One operation of a valid document."""

    document: DocumentNode
    name: str | None
    type: OperationType
    variables: VariableReader
    plan: Plan | None

    uses_variables: bool
    """Whether answers to its events depend on variables, and not only which events there are."""

    def question(self, request: GraphQLRequest) -> Question:
        """Return what is the same where the same is asked of an event."""
        variables = request.variables if self.uses_variables else None
        return request.query, self.name, b"" if variables is None else bytes(variables)

    def __str__(self) -> str:
        return f"{self.type.value} {self.name or 'without a name'}"


class Executor:
    """Executes requests against one schema."""

    def __init__(self, schema: GraphQLSchema, settings: TransportSettings) -> None:
        self._schema = schema
        self._settings = settings
        self._cache = _Cache(settings)

    def prepare(self, request: GraphQLRequest) -> Operation:
        """Find the operation that is asked for, or raise `InvalidOperation`."""
        longest = self._settings.largest_document
        if len(request.query) > longest:
            raise _invalid(TooComplex(f"The document has over {longest} characters; send values as variables."))
        operations = self._cache.get(request.query)
        if operations is None:
            operations = self._read(request.query)
            self._cache.put(request.query, operations)
        name = request.operation_name
        if name is None and len(operations) == 1:
            return next(iter(operations.values()))
        if name is None:
            raise _invalid(BadRequest("The document has several operations; `operationName` says which."))
        if name not in operations:
            raise _invalid(BadRequest(f"The document has no operation named `{errors.shorten(name, 60)}`."))
        return operations[name]

    async def execute(self, operation: Operation, request: GraphQLRequest, context: object) -> Answer:
        """Execute a query or mutation."""
        variables = await self._read_variables(operation, request)
        try:
            async with asyncio.timeout(self._settings.execution_seconds):
                came_to = await operation.plan.execute(context, variables) if operation.plan else None
                if isinstance(came_to, dict):
                    return _answer({"data": came_to}, operation)
                result = execute(
                    self._schema,
                    operation.document,
                    context_value=context,
                    variable_values=variables,
                    operation_name=operation.name,
                    max_coercion_errors=MOST_ERRORS,
                    middleware=MiddlewareManager(came_to) if isinstance(came_to, Given) else None,
                    # The default one is ready to deliver incrementally, which costs and is not spoken here.
                    executor_class=PlainExecutor,
                    hide_suggestions=True,
                )
                if not isinstance(result, ExecutionResult):
                    result = await result
        except TimeoutError:
            return refused(Unavailable("This took longer than we let it; what it began may still be done."))
        except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is logged and masked)
            return _answer({"errors": [errors.describe_unexpected(error, str(operation))]}, operation)
        return self._answer(result, operation)

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
            executor, stream = await self._open(operation, request, context)
            if isinstance(stream, ExecutionResult):
                yield self._answer(stream, operation)
                return
            question = operation.question(request)
            async for event in stream:
                yield await self._answer_event(executor, operation, question, event)
                # A source that never waits would keep everyone else waiting, and could not be cancelled.
                await asyncio.sleep(0)
        except DropzoneError as error:
            yield refused(error)
        except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is logged and masked)
            yield _answer({"errors": [errors.describe_unexpected(error, str(operation))]}, operation)
        finally:
            if stream is not None and not isinstance(stream, ExecutionResult):
                await stream.aclose()

    async def _read_variables(self, operation: Operation, request: GraphQLRequest) -> dict[str, Any]:
        variables = operation.variables.read(request.variables)
        if request.variables is not None and len(memoryview(request.variables)) > LARGE_VARIABLES:
            await asyncio.sleep(BREATH_SECONDS)  # others have their turn before resolvers have theirs
            variables = {name: _copied(value) for name, value in variables.items()}
            request.variables = None  # with the body, of which nothing is needed any more
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
            max_coercion_errors=MOST_ERRORS,
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
        answer = self._answer(await result if waited else result, operation)
        if shared is not None:
            answer = answer._replace(cursor=shared.cursor)
        # What was waited for was read for one caller, with the loaders of its context.
        if shared is not None and not waited and answer.executed and len(shared.answers) < MOST_SHARED_ANSWERS:
            shared.answers[question] = answer
        return answer

    def _read(self, text: str) -> dict[str | None, Operation]:
        try:
            document = parse(
                text,
                max_lexical_tokens=self._settings.most_tokens,
                max_comments=self._settings.most_tokens,
            )
        except GraphQLError as error:
            raise InvalidOperation(errors.describe_request_errors([error], errors.PARSE_FAILED)) from None
        try:
            limits.check(document, self._settings)
        except DropzoneError as error:
            raise _invalid(error) from None
        problems = validate(self._schema, document, max_errors=MOST_ERRORS, hide_suggestions=True)
        if problems:
            raise InvalidOperation(errors.describe_request_errors(problems, errors.VALIDATION_FAILED))
        return {
            (definition.name.value if definition.name else None): Operation(
                document,
                definition.name.value if definition.name else None,
                definition.operation,
                VariableReader(definition, self._settings),
                plan(self._schema, definition),
                uses_variables(document, definition),
            )
            for definition in document.definitions
            if isinstance(definition, OperationDefinitionNode)
        }

    def _answer(self, result: ExecutionResult, operation: Operation) -> Answer:
        if not result.errors:
            return _answer({"data": result.data}, operation)
        if result.data is None and all(error.path is None for error in result.errors):
            described = errors.describe_request_errors(result.errors, errors.BAD_USER_INPUT)
            return Answer(orjson.dumps({"errors": described}), executed=False)
        described = errors.describe_field_errors(result.errors, str(operation))
        answer = _answer({"data": result.data, "errors": described}, operation)
        if any(value is not None for value in (result.data or {}).values()):
            return answer
        waits = [error["extensions"].get("retryAfter") for error in described]
        return answer if None in waits else answer._replace(retry_after=max(cast(list[int], waits)))


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return bytes(value) if isinstance(value, msgspec.Raw) else value


def refused(error: DropzoneError) -> Answer:
    """Answer that an operation was not executed, or not to its end."""
    wait = error.retry_after if isinstance(error, Unavailable) else None
    return Answer(orjson.dumps({"errors": [errors.describe(error)]}), executed=False, retry_after=wait)


def _invalid(error: DropzoneError) -> InvalidOperation:
    return InvalidOperation([errors.describe(error)])


def _answer(payload: dict[str, Any], operation: Operation) -> Answer:
    try:
        return Answer(orjson.dumps(payload), executed=True)
    except TypeError as error:
        # Text that is no Unicode, an integer of over 64 bits, a type that JSON does not have.
        described = errors.describe_unexpected(error, str(operation))
        return Answer(orjson.dumps({"data": None, "errors": [described]}), executed=True)


class _Cache:
    """The operations of documents, least recently used first, bounded by number and by length of text."""

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._entries: OrderedDict[str, dict[str | None, Operation]] = OrderedDict()
        self._length = 0

    def get(self, text: str) -> dict[str | None, Operation] | None:
        operations = self._entries.get(text)
        if operations is not None:
            self._entries.move_to_end(text)
        return operations

    def put(self, text: str, operations: dict[str | None, Operation]) -> None:
        # One document may not push out all the others.
        if len(text) > self._settings.largest_operation_cache // 16:
            return
        self._entries[text] = operations
        self._length += len(text)
        while (
            self._length > self._settings.largest_operation_cache
            or len(self._entries) > self._settings.most_cached_operations
        ):
            evicted, _ = self._entries.popitem(last=False)
            self._length -= len(evicted)
