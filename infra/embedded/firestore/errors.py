"""Errors of the API: a gRPC status code and a message.

If Google's Firestore returns the same error, the message has the same words.

A client decides by the code whether to retry. If a retry cannot fix an error, the code is one that clients do not
retry. Every exception that is not listed here is logged and becomes INTERNAL, without details for the client. A full or
failing disk may be repaired, so the codes of these errors allow a retry.
"""

import sqlite3
from urllib.parse import quote

import grpc

MAX_HEADER_BYTES = 6_000
"""gRPC sends a message in a header. Clients refuse headers of 8 KiB, and report RESOURCE_EXHAUSTED instead."""
_printable = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")  # gRPC sends any other byte as three bytes


class StatusError(Exception):
    """An error that the client receives as a gRPC status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def code_number(self) -> int:
        """The code as a number, as in google.rpc.Status."""
        return int(self.code.value[0])


class ReadTimeTooOld(StatusError):
    """The document versions that were current at the read time may have been pruned."""

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
    """Return FAILED_PRECONDITION: the request can succeed only after a change of the database."""
    return StatusError(grpc.StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> StatusError:
    """Return ABORTED: the client must retry the transaction from its beginning."""
    return StatusError(grpc.StatusCode.ABORTED, message)


def unimplemented(message: str) -> StatusError:
    """Return UNIMPLEMENTED: this server does not have the feature."""
    return StatusError(grpc.StatusCode.UNIMPLEMENTED, message)


def unavailable(message: str) -> StatusError:
    """Return UNAVAILABLE: nothing was written, and a retry is safe."""
    return StatusError(grpc.StatusCode.UNAVAILABLE, message)


def data_loss(name: str) -> StatusError:
    """Return DATA_LOSS: the stored document `name` is damaged, so it is not returned."""
    return StatusError(
        grpc.StatusCode.DATA_LOSS,
        f"The stored document {name} is damaged: its checksum does not match. Restore a backup of the data file.",
    )


def from_exception(error: Exception) -> StatusError:
    """Return the status of a request that ended with `error`."""
    if isinstance(error, StatusError):
        return error
    if (failure := disk_failure(error)) is not None:
        return failure
    if is_damage(error):
        return StatusError(grpc.StatusCode.DATA_LOSS, "The data file is damaged. Restore a backup of the data file.")
    return StatusError(grpc.StatusCode.INTERNAL, "Internal error encountered.")


def is_damage(error: Exception) -> bool:
    """Return whether SQLite reports damage of the data file.

    SQLite also reports damage if the disk cannot read a page (EIO): see data_file/read_check.py.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.DatabaseError) else None
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def shortened(message: str) -> str:
    """Return a message without its middle if it is too long for a header."""
    if len(quote(message, safe=_printable)) <= MAX_HEADER_BYTES:
        return message
    encoded, part = message.encode(), MAX_HEADER_BYTES // 6
    return f"{encoded[:part].decode(errors='ignore')}...{encoded[-part:].decode(errors='ignore')}"


class FileMoved(sqlite3.OperationalError):
    """The data file was moved or deleted while the server runs. The next start would not find later commits."""


class LogMoved(FileMoved):
    """The write-ahead log was moved or deleted while the server runs. A kill of the server would lose later commits."""


class IncompleteLog(sqlite3.OperationalError):
    """A commit was refused: a flush failed, and the write-ahead log cannot be restarted. The text says why."""


def disk_failure(error: Exception) -> StatusError | None:
    """Return the status of a write that the disk or the file system refused. Return None for any other error."""
    if not isinstance(error, sqlite3.OperationalError):
        return None
    if isinstance(error, LogMoved):
        return unavailable(
            "The write-ahead log of the data file was moved or deleted; nothing was written. "
            "Stop the server, which saves all earlier writes, and start it again."
        )
    if isinstance(error, FileMoved):
        return unavailable("The data file was moved or deleted; nothing was written.")
    if isinstance(error, IncompleteLog):
        return unavailable(f"The disk failed, and {error}; nothing was written.")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, "The disk is full; nothing was written.")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return unavailable("The disk failed; nothing was written.")
    if code == sqlite3.SQLITE_READONLY:
        return unavailable("The data file is read-only; nothing was written.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return unavailable("Another process has locked the data file; nothing was written.")
    return None
