"""The entries for errors in responses, and the log entries of unexpected errors.

Clients see the message of a `DropzoneError` and of an invalid request. Every other error is masked: the response has
the code INTERNAL and an id, and the log has one entry with this id, even if many fields failed. Messages, lists of
errors and log entries have a maximum length, so a long request cannot cause a long response or log entry.

graphql-core wraps an error in other errors. `_cause` returns the original error. If a scalar raises an exception,
graphql-core appends the text of the exception to its own message. `_public_message` removes this text. `InvalidSample`
is masked too: here it means that a stored sample cannot be read, which the client did not cause.
"""

import logging
import traceback
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from graphql import GraphQLError

from graphql_api import metrics
from graphql_api.client_text import shorten
from graphql_api.errors import BAD_USER_INPUT, QuotaExceeded, TooComplex, TooSlow
from observability import request_context
from storage.documents.errors import DropzoneError, InvalidSample, RetryLater

logger = logging.getLogger("graphql_api")

MAX_FIELD_ERRORS = 100
_MAX_REQUEST_ERRORS_BYTES = 600
_ENTRY_BYTES = 120
"""The approximate size of an entry of `errors` without its message."""


def describe(error: DropzoneError) -> dict[str, Any]:
    """Return the entry of a `DropzoneError` for the list `errors` of a GraphQL response."""
    metrics.errors(error.code).inc()
    extensions = _extensions(error.code)
    if isinstance(error, RetryLater):
        extensions["retryAfter"] = error.retry_after
    if isinstance(error, (RetryLater, TooComplex)) and error.limit:
        extensions["limit"] = error.limit
    if isinstance(error, QuotaExceeded):
        extensions["rateLimit"] = {
            "policy": error.policy,
            "quota": error.quota,
            "window": error.window_seconds,
            "remaining": 0,
            "reset": error.retry_after,
        }
    if isinstance(error, TooSlow) and error.cursor:
        extensions["cursor"] = error.cursor
    return {"message": shorten(str(error)), "extensions": extensions}


def describe_unexpected(error: BaseException, where: str) -> dict[str, Any]:
    """Log an unexpected error. Return an entry for `errors` that contains only the id of the log entry."""
    error_id = uuid4().hex
    _log(error_id, [error], where)
    return _masked(error_id)


def describe_request_errors(errors: Sequence[GraphQLError], code: str) -> list[dict[str, Any]]:
    """Return entries for the errors of a request that was not executed, as many as fit into a short response."""
    described: list[dict[str, Any]] = []
    remaining_bytes = _MAX_REQUEST_ERRORS_BYTES
    for error in errors:
        cause = _cause(error)
        entry = describe(cause) if isinstance(cause, DropzoneError) else _visible(error, code)
        remaining_bytes -= len(entry["message"].encode()) + _ENTRY_BYTES
        if described and remaining_bytes < 0:
            rest = f"{len(errors) - len(described)} more errors are not listed"
            described.append({"message": rest, "extensions": {"code": code}})
            break
        described.append(entry | _position(error))
    _drop_tracebacks(errors)
    return described


def describe_field_errors(errors: Sequence[GraphQLError], where: str) -> list[dict[str, Any]]:
    """Return entries for the errors of an executed operation. Log unexpected errors."""
    error_id = ""
    unexpected: list[BaseException] = []
    described: list[dict[str, Any]] = []
    for error in errors[:MAX_FIELD_ERRORS]:
        cause = _cause(error)
        if isinstance(cause, DropzoneError) and not isinstance(cause, InvalidSample):
            entry = describe(cause)
        elif isinstance(cause, GraphQLError) and ("code" in (cause.extensions or {}) or cause.nodes):
            # A resolver raised this error with a code, or graphql-core raised it for an argument in the document.
            entry = _visible(cause, BAD_USER_INPUT)
        else:
            error_id = error_id or uuid4().hex
            unexpected.append(cause)
            entry = _masked(error_id)
        described.append(entry | _position(error))
    if unexpected:
        _log(error_id, unexpected, where)
    _drop_tracebacks(errors)
    if len(errors) > MAX_FIELD_ERRORS:
        rest = f"{len(errors) - MAX_FIELD_ERRORS} more errors are not listed"
        described.append({"message": rest, "extensions": {"code": described[-1]["extensions"]["code"]}})
    return described


def _cause(error: GraphQLError) -> BaseException:
    """Return the original error, without the errors that graphql-core wrapped around it."""
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _drop_tracebacks(errors: Sequence[BaseException]) -> None:
    """Free the frames in which `errors` were raised.

    A frame of graphql-core refers to the error that it handles, and the error refers to the frame. Only the garbage
    collector could free them, with the whole operation.
    """
    related: list[BaseException | None] = list(errors)
    seen: set[int] = set()
    while related:
        error = related.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            related += (error.__cause__, error.__context__)
            if isinstance(error, GraphQLError):
                related.append(error.original_error)


def _public_message(error: GraphQLError) -> str:
    """Return the message of graphql-core without the text of the exception that a scalar raised."""
    before, separator, _ = error.message.partition(", but encountered error '")
    return shorten(before + "." if separator else error.message)


def _visible(error: GraphQLError, code: str) -> dict[str, Any]:
    extensions = _extensions(code) | (error.extensions or {})
    metrics.errors(extensions["code"]).inc()
    return {"message": _public_message(error), "extensions": extensions}


def _masked(error_id: str) -> dict[str, Any]:
    metrics.errors("INTERNAL").inc()
    message = "an unexpected error occurred; report this id to the operator, whose log has the details"
    return {"message": message, "extensions": _extensions("INTERNAL") | {"id": error_id}}


def _extensions(code: str) -> dict[str, Any]:
    """Return the code, and the id of the current request."""
    request_id = request_context.request_id()
    return {"code": code, "requestId": request_id} if request_id else {"code": code}


def _position(error: GraphQLError) -> dict[str, Any]:
    position: dict[str, Any] = {}
    if error.locations:
        position["locations"] = [{"line": at.line, "column": at.column} for at in error.locations[:2]]
    if error.path is not None:
        position["path"] = error.path
    return position


def _log(error_id: str, errors: Sequence[BaseException], where: str) -> None:
    trace = "".join(traceback.format_exception(errors[0], limit=-20)).rstrip()
    more = f" (the first of {len(errors)})" if len(errors) > 1 else ""
    logger.error("error %s in %s%s", error_id, shorten(where), more, extra={"exception": trace})
