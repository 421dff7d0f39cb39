"""The errors that the API and the trigger functions raise deliberately.

`code` is public, and clients depend on it. The API maps these errors to GraphQL errors and HTTP statuses. For these
errors, a trigger function either acknowledges the event or requests its redelivery.
"""

from collections.abc import Sequence

from storage.documents.problems import Problem


class DropzoneError(Exception):
    """The base class of these errors. Clients see the message."""

    code = "INTERNAL"


class BadRequest(DropzoneError):
    """The request is invalid. The same request fails again."""

    code = "BAD_REQUEST"


class NotJson(BadRequest):
    """The bytes are not a JSON text, so they cannot be stored as a sample."""


class IncompleteJson(NotJson):
    """The bytes are only the start of a JSON text."""


class Unauthenticated(DropzoneError):
    """The request has no valid credential: its key or token is missing, unknown, expired or revoked."""

    code = "UNAUTHENTICATED"


class Forbidden(DropzoneError):
    """The credential lacks the required scope, or a page of another origin sent the request."""

    code = "FORBIDDEN"


class NotFound(DropzoneError):
    """The document does not exist or belongs to another submitter."""

    code = "NOT_FOUND"


class Conflict(DropzoneError):
    """The request contradicts a stored sample: its idempotency key was used already, the earlier sample cannot be
    corrected again, or the sample to delete is not the one that the client has read.
    """

    code = "CONFLICT"


class TooLarge(DropzoneError):
    """The request is larger than the limit of this server."""

    code = "TOO_LARGE"


class RetryLater(DropzoneError):
    """The request fails now but can succeed after `retry_after` seconds.

    `limit` is the name of the limit that the request exceeds, or empty if no limit is the reason.
    """

    def __init__(self, message: str, *, retry_after: int = 1, limit: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.limit = limit


class RateLimited(RetryLater):
    """The client or its submitter exceeds a limit."""

    code = "RATE_LIMITED"


class Unavailable(RetryLater):
    """Firestore or the server cannot process the request now.

    Firestore may have stored a write that it did not confirm. A retry with the same idempotency key is safe.
    """

    code = "UNAVAILABLE"


class DataLoss(DropzoneError):
    """A stored document is damaged. The message names the document. An operator must restore or remove it."""

    code = "DATA_LOSS"


class InvalidSample(DropzoneError):
    """The sample cannot be processed. `problems` contains the reasons. The same sample fails again."""

    code = "INVALID_SAMPLE"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{problem.message} - at `{problem.path}`" for problem in problems))
        self.problems = tuple(problems)
