"""Errors of Firestore, by gRPC status code.

A transient code becomes `FirestoreUnavailable`, which clients see as `Unavailable`. A query whose index is being built
raises the same error. Every other code becomes a `FirestoreError`. It is unexpected unless the caller handles it.
"""

import re
from typing import Any

import grpc
import grpc.aio

from storage.documents import DataLoss, Unavailable
from storage.firestore import metrics
from storage.firestore.retry import TRANSIENT

_INDEX_IS_BUILDING = "index is currently building"
"""Firestore refuses a query with FAILED_PRECONDITION and these words until the index is built."""

_SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,;'-]{1,150}\.?")
"""The messages that clients may see. The pattern does not match addresses, which messages of the connection contain."""

_DAMAGED_DOCUMENT = "The stored document "
"""The first words of the message if the embedded Firestore knows which document is damaged."""

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class FirestoreUnavailable(Unavailable):
    """Firestore returned a transient status, or could not be reached.

    `reason` is the status, with the message if clients may see it. `message` is for the log.
    """

    def __init__(self, status: grpc.StatusCode, message: str = "") -> None:
        self.status = status
        self.message = message
        self.reason = _public_reason(status, message)
        super().__init__(f"Firestore returned {self.reason}; retry later")


class FirestoreError(Exception):
    """Firestore rejected a request or a write.

    `status` is the status code. `reason` is the status, with the message of Firestore if clients may see it. The text
    of the exception is for the log.
    """

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(f"Firestore returned {status.name}: {message}")
        self.status = status
        self.message = message
        self.reason = _public_reason(status, message)


class PreconditionFailed(FirestoreError):
    """The document is not in the state that the write requires: it already exists, does not exist, or has changed."""


class InvalidWrite(FirestoreError):
    """Firestore does not accept this write. A retry of the same write fails too."""


class DamagedData(FirestoreError, DataLoss):
    """Stored data is damaged. Any part of the data can be damaged, for example an index."""


class DamagedDocument(DamagedData):
    """A stored document does not match its checksum. The message names the document. Other documents can be read."""


_CLASSES = {
    grpc.StatusCode.ALREADY_EXISTS: PreconditionFailed,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionFailed,
    grpc.StatusCode.NOT_FOUND: PreconditionFailed,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidWrite,
    grpc.StatusCode.OUT_OF_RANGE: InvalidWrite,
}


def text_for_log(error: Unavailable) -> str:
    """Return the text of an error, with the message of Firestore that clients may not see."""
    for each in (error, error.__cause__):
        if isinstance(each, FirestoreUnavailable | FirestoreError) and each.message.rstrip(".") not in str(error):
            return f"{error} ({each.message})"
    return str(error)


def _public_reason(status: grpc.StatusCode, message: str) -> str:
    return f"{status.name}: {message.rstrip('.')}" if _SENTENCE.fullmatch(message) else status.name


def call_error(error: Any) -> FirestoreUnavailable | FirestoreError:
    """Count a failed call and return the error to raise for it."""
    code, details = error.code(), error.details() or ""
    metrics.count_error(code)
    if code in TRANSIENT or _INDEX_IS_BUILDING in details:
        return FirestoreUnavailable(code, details)
    return _damage(details) if code is grpc.StatusCode.DATA_LOSS else FirestoreError(code, details)


def _damage(message: str) -> DamagedData:
    error_class = DamagedDocument if message.startswith(_DAMAGED_DOCUMENT) else DamagedData
    return error_class(grpc.StatusCode.DATA_LOSS, message)


def commit_error(error: Any) -> FirestoreUnavailable | FirestoreError:
    """Return the error to raise for a failed Commit. Count it unless a precondition failed."""
    code = error.code()
    if _CLASSES.get(code) is PreconditionFailed:
        return PreconditionFailed(code, error.details() or "")
    return call_error(error)


def write_error(status: Any) -> FirestoreUnavailable | FirestoreError:
    """Return the error for the `google.rpc.Status` of one failed write. Count it unless a precondition failed."""
    code = status_code(status.code)
    error_class = _CLASSES.get(code, FirestoreError)
    if error_class is not PreconditionFailed:
        metrics.count_error(code)
    if code is grpc.StatusCode.DATA_LOSS:
        return _damage(status.message)
    return FirestoreUnavailable(code, status.message) if code in TRANSIENT else error_class(code, status.message)


def status_code(number: int) -> grpc.StatusCode:
    """Return the status code with this number in `google.rpc.Status`, or UNKNOWN if the number is undefined."""
    return _STATUS_CODES.get(number, grpc.StatusCode.UNKNOWN)
