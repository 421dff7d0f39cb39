"""What can go wrong. `code` is the server's, as its documentation lists them; programs switch on it or on the class.

Three of them never come from the server: `Unreachable` (nothing answered), `UnexpectedAnswer` (what answered is not
Dropzone) and `UnusableSample` (what was given cannot be sent at all).
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class DropzoneError(Exception):
    """Base of all errors that this package raises. The message is one sentence for people."""

    code: str = "INTERNAL"
    retry_after: float | None = None
    """How many seconds the server asks to wait before the same is sent again."""


class Internal(DropzoneError):
    """A fault of the server; the message has the id that it has in the server's log."""


class BadRequest(DropzoneError):
    """The request cannot be understood; sending it again unchanged will not help."""

    code = "BAD_REQUEST"


class BadUserInput(BadRequest):
    """An argument has a value that its type does not take."""

    code = "BAD_USER_INPUT"


class Unauthenticated(DropzoneError):
    """There is no key, or it is unknown, expired or revoked."""

    code = "UNAUTHENTICATED"


class Forbidden(DropzoneError):
    """The key is good, but it does not have the scope that this needs."""

    code = "FORBIDDEN"


class NotFound(DropzoneError):
    """There is no such thing, or it is another submitter's."""

    code = "NOT_FOUND"


class Conflict(DropzoneError):
    """The idempotency key was used before, for another sample."""

    code = "CONFLICT"


class TooLarge(DropzoneError):
    """More than the server takes at once."""

    code = "TOO_LARGE"


class RequestTimeout(DropzoneError):
    """The request came too slowly."""

    code = "REQUEST_TIMEOUT"


class RateLimited(DropzoneError):
    """Too many at once from this client; later is fine."""

    code = "RATE_LIMITED"


class Unavailable(DropzoneError):
    """Nothing was acknowledged, though it may have been stored: the same may be sent again."""

    code = "UNAVAILABLE"


class Unreachable(DropzoneError):
    """Nothing answers at this address, or the connection broke."""

    code = "UNREACHABLE"


class UnexpectedAnswer(DropzoneError):
    """Something answers at this address, but not as Dropzone does."""

    code = "UNEXPECTED_ANSWER"


class UnusableSample(DropzoneError):
    """This cannot be sent as a sample."""

    code = "UNUSABLE_SAMPLE"


TRANSIENT = (Unreachable, Unavailable, RateLimited, RequestTimeout)
"""Later is fine: the client itself sends the same again for as long as its patience lasts."""

ABOUT_ONE_SAMPLE = (BadRequest, Conflict, Internal, TooLarge, UnusableSample)
"""The next sample may fare better; any other error would meet them all."""


class _Known:
    by_code: ClassVar[Mapping[str, type[DropzoneError]]] = {
        kind.code: kind
        for kind in (
            Internal,
            BadRequest,
            BadUserInput,
            Unauthenticated,
            Forbidden,
            NotFound,
            Conflict,
            TooLarge,
            RequestTimeout,
            RateLimited,
            Unavailable,
        )
    }


def described(error: Mapping[str, Any]) -> DropzoneError:
    """Return the exception for an error as the server describes it, in GraphQL and elsewhere."""
    extensions = error.get("extensions") or {}
    code = str(extensions.get("code", DropzoneError.code))
    message = str(error.get("message", code))
    if "id" in extensions:
        message = f"{message} ({extensions['id']})"
    raised = _Known.by_code.get(code, DropzoneError)(message)
    raised.code = code
    if "retryAfter" in extensions:
        raised.retry_after = float(extensions["retryAfter"])
    return raised
