"""What a call is refused with: one exception, a gRPC code and the words production uses.

Clients decide by the code whether to try again, so a lasting fault must bear a lasting code. Whatever
is not raised on purpose becomes INTERNAL, is logged, and shows the client nothing of our insides. A disk
that is full or fails may be mended, so clients are told to try again.
"""

import sqlite3

import grpc


class StatusError(Exception):
    """A call that is refused on purpose."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def code_number(self) -> int:
        """The code as google.rpc.Status counts it."""
        return int(self.code.value[0])


class ReadTimeTooOld(StatusError):
    """A read of a moment whose versions are not kept any more."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.FAILED_PRECONDITION, "The requested snapshot version is too old.")


def invalid_argument(message: str) -> StatusError:
    """Return INVALID_ARGUMENT: this request can never succeed."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """Return NOT_FOUND."""
    return StatusError(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> StatusError:
    """Return ALREADY_EXISTS."""
    return StatusError(grpc.StatusCode.ALREADY_EXISTS, message)


def failed_precondition(message: str) -> StatusError:
    """Return FAILED_PRECONDITION: not before something else has changed."""
    return StatusError(grpc.StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> StatusError:
    """Return ABORTED: the transaction lost, and its client tries again from the start."""
    return StatusError(grpc.StatusCode.ABORTED, message)


def unimplemented(message: str) -> StatusError:
    """Return UNIMPLEMENTED: this server does not do that, and says so."""
    return StatusError(grpc.StatusCode.UNIMPLEMENTED, message)


def unavailable(message: str) -> StatusError:
    """Return UNAVAILABLE: nothing was done, and trying again is safe."""
    return StatusError(grpc.StatusCode.UNAVAILABLE, message)


def from_exception(error: Exception) -> StatusError:
    """Return what a call is refused with that an error has ended."""
    if isinstance(error, StatusError):
        return error
    failure = getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.OperationalError) else None
    if failure == sqlite3.SQLITE_FULL:
        return StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "The disk is full; nothing was written.")
    if failure == sqlite3.SQLITE_IOERR:
        return unavailable("The disk failed; nothing was written.")
    return StatusError(grpc.StatusCode.INTERNAL, "Internal error encountered.")
