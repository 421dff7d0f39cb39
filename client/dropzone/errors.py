"""The errors that this package raises. To handle an error, test its class or its `code`.

The server defines the codes. The client adds four codes: `Unreachable` (no connection), `UnexpectedResponse` (the
response is not from a Dropzone server), `UnusableSample` (the value cannot be sent as a sample) and `ClientClosed`.
"""

from collections.abc import Mapping
from typing import Any


class DropzoneError(Exception):
    """Base class of all errors that this package raises. The message is one sentence."""

    code: str = "INTERNAL"
    retry_after: float | None = None
    """The number of seconds that the server asks clients to wait before a retry, or None."""


class Internal(DropzoneError):
    """An unexpected error of the server. The message contains the id of the error in the server log."""


class BadRequest(DropzoneError):
    """The request is malformed. Change it before you send it again."""

    code = "BAD_REQUEST"


class BadUserInput(BadRequest):
    """An argument has a value that its type does not accept."""

    code = "BAD_USER_INPUT"


class Unauthenticated(DropzoneError):
    """The key or access token is missing, unknown, expired or revoked."""

    code = "UNAUTHENTICATED"


class Forbidden(DropzoneError):
    """The key or access token is valid but lacks the required scope."""

    code = "FORBIDDEN"


class NotFound(DropzoneError):
    """The document does not exist or belongs to another submitter."""

    code = "NOT_FOUND"


class Conflict(DropzoneError):
    """The idempotency key was used for another sample, or the earlier sample cannot be corrected again."""

    code = "CONFLICT"


class DataLoss(DropzoneError):
    """A stored document is damaged. The message names the document. An operator must restore or remove it."""

    code = "DATA_LOSS"


class TooLarge(DropzoneError):
    """The request exceeds a size limit of the server."""

    code = "TOO_LARGE"


class RequestTimeout(DropzoneError):
    """The request body arrived too slowly."""

    code = "REQUEST_TIMEOUT"


class RateLimited(DropzoneError):
    """This client sent too many requests. Retry later."""

    code = "RATE_LIMITED"


class TooSlow(DropzoneError):
    """The client read the items of a subscription too slowly. `watch` and `removals` then subscribe again."""

    code = "TOO_SLOW"


class Unavailable(DropzoneError):
    """The server is temporarily unavailable. It may have stored the sample. Retry with the same idempotency key."""

    code = "UNAVAILABLE"


class Unreachable(DropzoneError):
    """The connection could not be established, or it broke."""

    code = "UNREACHABLE"


class UnexpectedResponse(DropzoneError):
    """The server at this URL is not a Dropzone server, or its certificate is not trusted."""

    code = "UNEXPECTED_RESPONSE"


class UnusableSample(DropzoneError):
    """The value cannot be sent as a sample."""

    code = "UNUSABLE_SAMPLE"


class ClientClosed(DropzoneError):
    """The client was closed, or belongs to another process or event loop. Create another client."""

    code = "CLIENT_CLOSED"


TRANSIENT = (Unreachable, Unavailable, RateLimited, RequestTimeout, TooSlow)
"""The client retries these errors."""

ABOUT_ONE_SAMPLE = (BadRequest, Conflict, DataLoss, Internal, TooLarge, UnusableSample)
"""These errors concern only one sample of a series. Any other error concerns every sample of the series."""

_BY_CODE: Mapping[str, type[DropzoneError]] = {
    kind.code: kind
    for kind in (
        Internal,
        BadRequest,
        BadUserInput,
        Unauthenticated,
        Forbidden,
        NotFound,
        Conflict,
        DataLoss,
        TooLarge,
        RequestTimeout,
        RateLimited,
        TooSlow,
        Unavailable,
    )
}


def error_from_response(values: Mapping[str, Any]) -> DropzoneError:
    """Return the exception for an error object in a GraphQL or HTTP response."""
    extensions = values.get("extensions")
    if not isinstance(extensions, Mapping):
        extensions = {}
    code = str(extensions.get("code", DropzoneError.code))
    message = str(values.get("message", code))
    if "id" in extensions:
        message = f"{message} ({extensions['id']})"
    error = _BY_CODE.get(code, DropzoneError)(message)
    error.code = code
    retry_after = extensions.get("retryAfter")
    if isinstance(retry_after, int | float) and retry_after >= 0:  # a gateway can send another type
        error.retry_after = float(retry_after)
    return error
