"""GraphQL responses as JSON bytes. All protocols send the same bytes."""

from typing import Any, NamedTuple, cast

import orjson
from graphql import ExecutionResult

from graphql_api import errors
from storage.documents.errors import DropzoneError, RateLimited, RetryLater, Unavailable


class GraphQLResponse(NamedTuple):
    """The JSON of a GraphQL response, and facts about the response that the protocols need."""

    body: bytes
    is_executed: bool
    """False if the operation was not executed, or if a subscription could not continue."""
    retry_after: int | None = None
    """After how many seconds the client can retry. Set only if all fields failed with errors that a retry can fix."""
    retry_status: int = 503
    """The HTTP status of a response with `retry_after`: 429 if all fields failed because of limits."""
    cursor: str = ""
    """The position of a subscription event, after which a client can resume. Empty if the event has no position."""


def from_payload(payload: dict[str, Any], operation: object) -> GraphQLResponse:
    """Encode the payload of an executed operation. If encoding fails, log an error that names `operation`."""
    try:
        return GraphQLResponse(orjson.dumps(payload), is_executed=True)
    except TypeError as error:
        # The payload has a lone surrogate, an integer of more than 64 bits, or a type that orjson does not support.
        described = errors.describe_unexpected(error, str(operation))
        return GraphQLResponse(orjson.dumps({"data": None, "errors": [described]}), is_executed=True)


def from_result(result: ExecutionResult, operation: object) -> GraphQLResponse:
    """Encode a result of graphql-core. Log unexpected errors with the name of `operation`."""
    if not result.errors:
        return from_payload({"data": result.data}, operation)
    if result.data is None and all(error.path is None for error in result.errors):
        described = errors.describe_request_errors(result.errors, errors.BAD_USER_INPUT)
        return GraphQLResponse(orjson.dumps({"errors": described}), is_executed=False)
    described = errors.describe_field_errors(result.errors, str(operation))
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
    body = orjson.dumps({"errors": [errors.describe(error)]})
    return GraphQLResponse(body, is_executed=False, retry_after=wait, retry_status=_retry_status({error.code}))


def _retry_status(codes: set[str]) -> int:
    return errors.HTTP_STATUS[RateLimited.code if codes == {RateLimited.code} else Unavailable.code]
