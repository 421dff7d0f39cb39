"""The public error codes, and the HTTP status and headers of their responses."""

from graphql_api import metrics
from graphql_api.credential_errors import Challenges
from storage.documents.errors import DropzoneError, RateLimited, RetryLater, Unavailable

PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
BAD_USER_INPUT = "BAD_USER_INPUT"  # the value of a variable or argument does not match its type

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
    "DATA_LOSS": 500,
    "UNAVAILABLE": 503,
}
"""The HTTP status by error code, for a request that fails before its operation is executed."""


class MethodNotAllowed(DropzoneError):
    """The resource does not support this HTTP method. `allow` lists the supported methods."""

    code = "METHOD_NOT_ALLOWED"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class NotAcceptable(DropzoneError):
    """The server offers no media type that the client accepts."""

    code = "NOT_ACCEPTABLE"


class RequestTimeout(DropzoneError):
    """The client sent its request too slowly."""

    code = "REQUEST_TIMEOUT"


class TooSlow(DropzoneError):
    """The client reads a subscription too slowly. `cursor` is the cursor of the last event that the server sent."""

    code = "TOO_SLOW"

    def __init__(self, cursor: str = "") -> None:
        super().__init__(
            "the client read this subscription too slowly; subscribe again with the last cursor as `after`"
        )
        self.cursor = cursor


class QuotaExceeded(RateLimited):
    """The client has used the whole quota of a policy. The header `RateLimit-Policy` lists the policies."""

    def __init__(
        self, message: str, *, limit: str, retry_after: int, policy: str, quota: int, window_seconds: int
    ) -> None:
        super().__init__(message, limit=limit, retry_after=retry_after)
        self.policy = policy
        self.quota = quota
        self.window_seconds = window_seconds


class UnsupportedMediaType(DropzoneError):
    """The body has an unsupported content type or content encoding."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class TooComplex(DropzoneError):
    """The operation exceeds a limit on the work of one request. `limit` is the name of the limit."""

    code = "OPERATION_TOO_COMPLEX"

    def __init__(self, message: str, *, limit: str = "") -> None:
        super().__init__(message)
        self.limit = limit


def code_of(error: BaseException) -> str:
    """Return the code that clients receive for `error`."""
    if isinstance(error, DropzoneError):
        return error.code
    return Unavailable.code if isinstance(error, MemoryError) else "INTERNAL"


def error_headers(error: DropzoneError, challenges: Challenges) -> dict[str, str]:
    """Return the headers of the HTTP response to an error."""
    if (challenge := challenges.of(error)) is not None:
        return {"www-authenticate": challenge}
    if isinstance(error, RetryLater):
        return {"retry-after": str(error.retry_after)}
    if isinstance(error, MethodNotAllowed):
        return {"allow": error.allow}
    if isinstance(error, UnsupportedMediaType):
        return {"accept-encoding": "gzip, zstd"}
    return {}


def count_failed_samples(error: Exception, samples: int = 1) -> None:
    """Count samples that `error` kept from being stored, unless it is an error of the client.

    The availability alert compares the samples that failed with all samples.
    """
    code = code_of(error)
    if HTTP_STATUS.get(code, 400) >= HTTP_STATUS["INTERNAL"]:
        metrics.failed_samples(code).inc(samples)
