"""What can go wrong, for all sides.

`code` is public: clients switch on it. Each boundary maps these once: the API to GraphQL errors and
HTTP statuses, a trigger function to "done" or "send it again".
"""

from collections.abc import Sequence

from storage.documents.problems import Problem


class DropzoneError(Exception):
    """Base of all errors raised on purpose: the message is written for the client."""

    code = "INTERNAL"


class BadRequest(DropzoneError):
    """The request cannot be understood; sending it again unchanged will not help."""

    code = "BAD_REQUEST"


class NotJson(BadRequest):
    """The bytes are not a JSON text, so they are no sample that could be kept."""


class Unauthenticated(DropzoneError):
    """The request names no key, or one that is unknown, expired or revoked."""

    code = "UNAUTHENTICATED"


class Forbidden(DropzoneError):
    """The key is good, but it does not have the scope that this needs."""

    code = "FORBIDDEN"


class NotFound(DropzoneError):
    """There is no such document, or it is another submitter's."""

    code = "NOT_FOUND"


class Conflict(DropzoneError):
    """The idempotency key was used before, with other content."""

    code = "CONFLICT"


class TooLarge(DropzoneError):
    """The request is larger than this server takes."""

    code = "TOO_LARGE"


class RateLimited(DropzoneError):
    """Too many at once from this client; later is fine."""

    code = "RATE_LIMITED"


class Unavailable(DropzoneError):
    """Firestore has not confirmed, but may have stored it: a retry is stored once if it has an idempotency key."""

    code = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidSample(DropzoneError):
    """This sample can never be processed; sending it again will not help. `problems` says why."""

    code = "INVALID_SAMPLE"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{problem.message} - at `{problem.path}`" for problem in problems))
        self.problems = tuple(problems)
