"""What a call is refused with: one exception, a gRPC code and the words production uses.

Clients decide by the code whether to try again, so a lasting fault must bear a lasting code. Whatever
is not raised on purpose becomes INTERNAL, is logged, and shows the client nothing of our insides. A disk
that is full or fails may be mended, so clients are told to try again.
"""

import sqlite3

import grpc


class Refusal(Exception):
    """A call that is refused on purpose."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def number(self) -> int:
        """The code as google.rpc.Status counts it."""
        return int(self.code.value[0])


class TooOld(Refusal):
    """A read of a moment whose versions are not kept any more."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.FAILED_PRECONDITION, "The requested snapshot version is too old.")


def invalid(message: str) -> Refusal:
    """Return INVALID_ARGUMENT: this request can never succeed."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refusal:
    """Return NOT_FOUND."""
    return Refusal(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> Refusal:
    """Return ALREADY_EXISTS."""
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, message)


def failed_precondition(message: str) -> Refusal:
    """Return FAILED_PRECONDITION: not before something else has changed."""
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> Refusal:
    """Return ABORTED: the transaction lost, and its client tries again from the start."""
    return Refusal(grpc.StatusCode.ABORTED, message)


def unimplemented(message: str) -> Refusal:
    """Return UNIMPLEMENTED: this server does not do that, and says so."""
    return Refusal(grpc.StatusCode.UNIMPLEMENTED, message)


def unavailable(message: str) -> Refusal:
    """Return UNAVAILABLE: nothing was done, and trying again is safe."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, message)


def of(error: Exception) -> Refusal:
    """Return what a call is refused with that an error has ended."""
    if isinstance(error, Refusal):
        return error
    failure = getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.OperationalError) else None
    if failure == sqlite3.SQLITE_FULL:
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "The disk is full; nothing was written.")
    if failure == sqlite3.SQLITE_IOERR:
        return unavailable("The disk failed; nothing was written.")
    return Refusal(grpc.StatusCode.INTERNAL, "Internal error encountered.")
