"""What is said to a client: an answer is made into bytes once, whatever carries it."""

from typing import Any, NamedTuple, cast

import orjson
from graphql import ExecutionResult

from graphql_api import errors
from storage.documents.errors import DropzoneError, Unavailable


class Answer(NamedTuple):
    """The JSON of a GraphQL response, and what HTTP needs to know about it."""

    body: bytes
    executed: bool
    retry_after: int | None = None
    """Set where nothing succeeded because something that we need is unavailable."""
    cursor: str = ""
    """Of an event: from where a subscriber can go on."""


def of_payload(payload: dict[str, Any], operation: object) -> Answer:
    """Answer that an operation was executed; `operation` is for the log."""
    try:
        return Answer(orjson.dumps(payload), executed=True)
    except TypeError as error:
        # Text that is no Unicode, an integer of over 64 bits, a type that JSON does not have.
        described = errors.describe_unexpected(error, str(operation))
        return Answer(orjson.dumps({"data": None, "errors": [described]}), executed=True)


def of_result(result: ExecutionResult, operation: object) -> Answer:
    """Answer with what graphql-core came to; `operation` is for the log."""
    if not result.errors:
        return of_payload({"data": result.data}, operation)
    if result.data is None and all(error.path is None for error in result.errors):
        described = errors.describe_request_errors(result.errors, errors.BAD_USER_INPUT)
        return Answer(orjson.dumps({"errors": described}), executed=False)
    described = errors.describe_field_errors(result.errors, str(operation))
    answer = of_payload({"data": result.data, "errors": described}, operation)
    if any(value is not None for value in (result.data or {}).values()):
        return answer
    waits = [error["extensions"].get("retryAfter") for error in described]
    return answer if None in waits else answer._replace(retry_after=max(cast(list[int], waits)))


def refused(error: DropzoneError) -> Answer:
    """Answer that an operation was not executed, or not to its end."""
    wait = error.retry_after if isinstance(error, Unavailable) else None
    return Answer(orjson.dumps({"errors": [errors.describe(error)]}), executed=False, retry_after=wait)
