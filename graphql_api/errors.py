"""What clients are told when something goes wrong, and what the log is told.

Errors raised on purpose (`DropzoneError`) and faults of the request are shown as they are. Everything
else is masked: the client gets INTERNAL with an id, the log gets one entry with the same id, however
many fields failed. Nothing here grows with the request: messages, lists and log entries are cut.

Two traps. graphql-core wraps errors in errors, and puts the text of any exception that a scalar raised
into its own message; `_cause` and `_public_message` undo that. And `InvalidSample` is about what is stored,
for what is submitted is kept with its problems: whoever reads a damaged sample did nothing wrong.
"""

import logging
import traceback
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from graphql import GraphQLError

from graphql_api import metrics
from storage.documents.errors import DropzoneError, InvalidSample, Unavailable

logger = logging.getLogger("graphql_api")

PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
BAD_USER_INPUT = "BAD_USER_INPUT"  # a variable or argument has a value that its type does not take

HTTP_STATUS = {
    "BAD_REQUEST": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "NOT_ACCEPTABLE": 406,
    "REQUEST_TIMEOUT": 408,
    "CONFLICT": 409,
    "TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
"""The HTTP status of a request that is refused as a whole with this code."""

MAX_MESSAGE_LENGTH = 240
MAX_REQUEST_ERROR_BYTES = 600
MAX_FIELD_ERRORS = 100
MAX_TRACE_LENGTH = 8_000

_CONTROL_CHARACTERS = dict.fromkeys((*range(32), 127), " ")


class MethodNotAllowed(DropzoneError):
    """This cannot be asked for by this HTTP method; `allow` lists those that can."""

    code = "METHOD_NOT_ALLOWED"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class NotAcceptable(DropzoneError):
    """The client accepts no media type in which this can be answered."""

    code = "NOT_ACCEPTABLE"


class RequestTimeout(DropzoneError):
    """The client was too slow to send its request."""

    code = "REQUEST_TIMEOUT"


class TooSlow(DropzoneError):
    """The client read next to nothing of its subscription for some time; `cursor` is of the last that it was sent."""

    code = "TOO_SLOW"

    def __init__(self, cursor: str = "") -> None:
        super().__init__("This was read too slowly; subscribe again behind the last cursor.")
        self.cursor = cursor


class UnsupportedMediaType(DropzoneError):
    """The body has a content type or a content encoding that is not read here."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class TooComplex(DropzoneError):
    """The operation is more work than this server does for one request."""

    code = "OPERATION_TOO_COMPLEX"


def shorten(text: str, length: int = MAX_MESSAGE_LENGTH) -> str:
    """Cut a text that may echo what a client sent to `length` bytes of UTF-8, on one line."""
    encoded = text[:length].translate(_CONTROL_CHARACTERS).encode("utf-8", "replace")
    if len(text) <= length and len(encoded) <= length:
        return encoded.decode()
    return encoded[: length - 3].decode("utf-8", "ignore") + "…"


def describe(error: DropzoneError) -> dict[str, Any]:
    """Describe an error raised on purpose as GraphQL's `errors` do."""
    metrics.errors(error.code).inc()
    extensions: dict[str, Any] = {"code": error.code}
    if isinstance(error, Unavailable):
        extensions["retryAfter"] = error.retry_after
    if isinstance(error, TooSlow) and error.cursor:
        extensions["cursor"] = error.cursor
    return {"message": shorten(str(error)), "extensions": extensions}


def describe_unexpected(error: BaseException, where: str) -> dict[str, Any]:
    """Log an unexpected error and describe it by nothing but the id that it has in the log."""
    error_id = uuid4().hex
    _log(error_id, [error], where)
    return _masked(error_id)


def describe_request_errors(errors: Sequence[GraphQLError], code: str) -> list[dict[str, Any]]:
    """Describe why a request was not executed: as many errors as fit into a short answer."""
    described: list[dict[str, Any]] = []
    room = MAX_REQUEST_ERROR_BYTES
    for error in errors:
        cause = _cause(error)
        entry = describe(cause) if isinstance(cause, DropzoneError) else _visible(error, code)
        room -= len(entry["message"].encode()) + 120
        if described and room < 0:
            rest = f"{len(errors) - len(described)} more errors are not shown."
            described.append({"message": rest, "extensions": {"code": code}})
            break
        described.append(entry | _position(error))
    return described


def describe_field_errors(errors: Sequence[GraphQLError], where: str) -> list[dict[str, Any]]:
    """Describe what went wrong while an operation was executed; log what was not expected."""
    error_id = ""
    unexpected: list[BaseException] = []
    described: list[dict[str, Any]] = []
    for error in errors[:MAX_FIELD_ERRORS]:
        cause = _cause(error)
        if isinstance(cause, DropzoneError) and not isinstance(cause, InvalidSample):
            entry = describe(cause)
        elif isinstance(cause, GraphQLError) and ("code" in (cause.extensions or {}) or cause.nodes):
            # Raised with a code by a resolver, or by graphql-core about an argument in the document.
            entry = _visible(cause, BAD_USER_INPUT)
        else:
            error_id = error_id or uuid4().hex
            unexpected.append(cause)
            entry = _masked(error_id)
        described.append(entry | _position(error))
    if unexpected:
        _log(error_id, unexpected, where)
    if len(errors) > MAX_FIELD_ERRORS:
        rest = f"{len(errors) - MAX_FIELD_ERRORS} more errors are not shown."
        described.append({"message": rest, "extensions": {"code": described[-1]["extensions"]["code"]}})
    return described


def _cause(error: GraphQLError) -> BaseException:
    """Unwrap an error down to the one that was raised first."""
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _public_message(error: GraphQLError) -> str:
    """Leave out the text of an exception that a scalar raised."""
    before, separator, _ = error.message.partition(", but encountered error '")
    return shorten(before + "." if separator else error.message)


def _visible(error: GraphQLError, code: str) -> dict[str, Any]:
    extensions = {"code": code} | (error.extensions or {})
    metrics.errors(extensions["code"]).inc()
    return {"message": _public_message(error), "extensions": extensions}


def _masked(error_id: str) -> dict[str, Any]:
    metrics.errors("INTERNAL").inc()
    message = "Something went wrong on our side. It is in our log under this id."
    return {"message": message, "extensions": {"code": "INTERNAL", "id": error_id}}


def _position(error: GraphQLError) -> dict[str, Any]:
    position: dict[str, Any] = {}
    if error.locations:
        position["locations"] = [{"line": at.line, "column": at.column} for at in error.locations[:2]]
    if error.path is not None:
        position["path"] = error.path
    return position


def _log(error_id: str, errors: Sequence[BaseException], where: str) -> None:
    trace = "".join(traceback.format_exception(errors[0], limit=-20))
    more = f" (the first of {len(errors)})" if len(errors) > 1 else ""
    if len(trace) > MAX_TRACE_LENGTH:
        trace = f"{trace[: MAX_TRACE_LENGTH // 2]} (cut) {trace[-MAX_TRACE_LENGTH // 2 :]}"
    logger.error("error %s in %s%s\n%s", error_id, shorten(where), more, trace)
