"""GraphQL responses as JSON bytes. All protocols send the same bytes."""

from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any, NamedTuple, cast

import orjson
from graphql import ExecutionResult, GraphQLError

from graphql_api import error_entries, errors
from graphql_api.budgets.loop_turns import LoopTurn
from storage.documents.errors import DropzoneError, RateLimited, RetryLater, Unavailable

SelectionKey = tuple[str, str | None, bytes]
"""A document, the name of an operation, and a digest of the variables that the responses depend on."""


class GraphQLResponse(NamedTuple):
    """The JSON of a GraphQL response, and facts about the response that the protocols need."""

    body: bytes
    is_executed: bool
    """False if the operation was not executed, or if a subscription could not continue."""
    retry_after: int | None = None
    """The number of seconds until a retry. Set only if all fields failed with errors that a retry can fix."""
    retry_status: int = 503
    """The HTTP status of a response with `retry_after`: 429 if all fields failed because of limits."""
    cursor: str = ""
    """The position of a subscription event, after which a client can resume. Empty if the event has no position."""


class SharedEvent:
    """An event that is equal for many subscriptions, so that each response to it is encoded only once.

    An event source yields instances of a subclass. The response to such an event depends only on the event, the
    document, and the variables below the root fields. Variables in arguments of a root field only select events.

    A shared response must not depend on the caller. If a resolver awaits a value, a loader has read this value for one
    caller. A response is therefore shared only if its resolvers did not await a value.
    """

    cursor: str = ""
    """The position after which a subscriber can resume. Empty if a subscriber cannot resume."""

    executions: int = 0
    """How often an operation was executed for this event. Each selection key needs one execution."""

    @cached_property
    def responses(self) -> dict[SelectionKey, GraphQLResponse]:
        """The responses that are already encoded for this event, by selection key."""
        return {}


async def encode_lists(
    data: dict[str, Any], turn: LoopTurn, check: Callable[[int], None] | None, with_documents: Collection[str]
) -> None:
    """Replace the items of lists in `data` by their JSON, in the steps of `turn`.

    `from_payload` then only copies the JSON. Encoding 20,000 time buckets at once takes up to half a second.
    `check` gets the number of bytes after each item. It may raise an error. The root fields `with_documents` stay
    unchanged: they contain large JSON already, which would be copied once more.
    """
    byte_count = 0
    values = [(data, name) for name in data if name not in with_documents]
    while values:
        parent, name = values.pop()
        value = parent[name]
        if isinstance(value, dict):
            values += [(value, each) for each in value]
        elif isinstance(value, list) and value:
            has_objects = isinstance(value[0], dict)
            container: Any = value if has_objects else parent
            for place in range(len(value)) if has_objects else (name,):
                await turn.pause()
                try:
                    encoded = orjson.dumps(container[place])
                except TypeError:
                    return  # `from_payload` fails too, and logs the error
                container[place] = orjson.Fragment(encoded)
                byte_count += len(encoded)
                if check is not None:
                    check(byte_count)


def from_payload(payload: dict[str, Any], operation: object) -> GraphQLResponse:
    """Encode the payload of an executed operation. If encoding fails, log an error that names `operation`."""
    try:
        return GraphQLResponse(orjson.dumps(payload), is_executed=True)
    except TypeError as error:
        # The payload has a lone surrogate, an integer of more than 64 bits, or a type that orjson does not support.
        described = error_entries.describe_unexpected(error, str(operation))
        return GraphQLResponse(orjson.dumps({"data": None, "errors": [described]}), is_executed=True)


def from_result(result: ExecutionResult, operation: object) -> GraphQLResponse:
    """Encode a result of graphql-core. Log unexpected errors with the name of `operation`."""
    if not result.errors:
        return from_payload({"data": result.data}, operation)
    if result.data is None and all(error.path is None for error in result.errors):
        described = error_entries.describe_request_errors(result.errors, errors.BAD_USER_INPUT)
        return GraphQLResponse(orjson.dumps({"errors": described}), is_executed=False)
    described = error_entries.describe_field_errors(result.errors, str(operation))
    response = from_payload({"data": result.data, "errors": described}, operation)
    if any(value is not None for value in (result.data or {}).values()):
        return response
    waits = [error["extensions"].get("retryAfter") for error in described]
    if None in waits:
        return response
    codes = {error["extensions"]["code"] for error in described}
    return response._replace(retry_after=max(cast(list[int], waits)), retry_status=_retry_status(codes))


def from_error(error: DropzoneError) -> GraphQLResponse:
    """Encode the error of an operation that was not executed, or that ended with this error."""
    wait = error.retry_after if isinstance(error, RetryLater) else None
    body = orjson.dumps({"errors": [error_entries.describe(error)]})
    return GraphQLResponse(body, is_executed=False, retry_after=wait, retry_status=_retry_status({error.code}))


def from_source_error(error: GraphQLError, operation: object) -> GraphQLResponse:
    """Encode the error with which the event source of a subscription ended. Log an unexpected error."""
    described = error_entries.describe_field_errors([error], str(operation))
    return GraphQLResponse(orjson.dumps({"errors": described}), is_executed=False)


def mark_executed(error: GraphQLError) -> None:
    """Replace RATE_LIMITED in a field below a root field of a mutation, because this root field was executed.

    The path of an item of a list ends with a number. Such an error says that this item was refused.
    """
    is_below_root = error.path is not None and len(error.path) > 1 and isinstance(error.path[-1], str)
    if is_below_root and isinstance(error.original_error, RateLimited):
        error.original_error = executed(error.original_error)


def executed(error: RetryLater) -> Unavailable:
    """Return the error for a mutation that was executed, but whose response was refused with `error`."""
    message = f"the mutation was executed, and its changes may be stored, but its response was refused: {error}"
    return Unavailable(message, retry_after=error.retry_after, limit=error.limit)


def _retry_status(codes: set[str]) -> int:
    return errors.HTTP_STATUS[RateLimited.code if codes == {RateLimited.code} else Unavailable.code]
