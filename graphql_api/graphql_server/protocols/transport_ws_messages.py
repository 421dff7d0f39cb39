"""The messages of the graphql-transport-ws protocol, and the codes with which the server closes a WebSocket."""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from graphql_api import error_entries
from graphql_api.client_text import shorten
from graphql_api.errors import TooSlow
from graphql_api.graphql_server.requests.request_headers import Credential, bearer_token, single_key, single_submitter
from storage.documents.errors import BadRequest, DropzoneError, Forbidden, RetryLater, Unauthenticated

GOING_AWAY = 1001
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
BAD_MESSAGE = 4400
UNAUTHORIZED = 4401
FORBIDDEN = 4403
SUBPROTOCOL_NOT_ACCEPTABLE = 4406
INITIALIZATION_TIMEOUT = 4408
ID_IN_USE = 4409
INITIALIZED_TWICE = 4429

_MAX_REASON_LENGTH = 120  # bytes; a close frame holds 123


class Close(Exception):
    """Raised to close the WebSocket with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = shorten(reason, _MAX_REASON_LENGTH)


class Disconnected(Exception):
    """The client has disconnected, or the server is closing the WebSocket."""


class Message(msgspec.Struct):
    """A message of a client. Its payload is not decoded yet."""

    type: str
    id: str | msgspec.UnsetType = msgspec.UNSET
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_MESSAGE = msgspec.json.Decoder(Message)
_PAYLOAD = msgspec.json.Decoder(dict[str, Any] | None)


def decode(text: str) -> Message:
    """Return the message in a text. Raises `Close` if the text is not a message."""
    try:
        return _MESSAGE.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Close(BAD_MESSAGE, f"Invalid message: {error}") from None


def object_in(message: Message) -> dict[str, Any]:
    """Return the payload of a message, an object or nothing. Raises `Close` if the payload is not an object."""
    try:
        payload = _PAYLOAD.decode(message.payload) if isinstance(message.payload, msgspec.Raw) else None
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise Close(BAD_MESSAGE, "expected an object - at `payload`") from None
    return payload or {}


def credential_in(payload: Mapping[str, object], of_headers: Credential) -> Credential:
    """Return the credential in the payload of `connection_init`. Without one, return the credential of the headers.

    A key in the payload replaces the session of a page. Clients use several spellings of the same name. Raises
    `Unauthenticated` if there are two different keys, and `BadRequest` for two submitters.
    """
    key = None if of_headers.is_cookie else of_headers.key
    submitter = of_headers.submitter
    for name, value in payload.items():
        match name.lower().replace("-", ""), value:
            case "xapikey" | "apikey", str():
                key = single_key(key, value)
            case "authorization", str():
                key = single_key(key, bearer_token(value))
            case "xsubmitter", str():
                submitter = single_submitter(submitter, value)
    credential = of_headers._replace(submitter=submitter)
    return credential if key is None else credential._replace(key=key, is_cookie=False)


def refusal(credential: Credential, error: BaseException) -> Close:
    """Return the code and the reason for a credential that is refused with `error`."""
    if isinstance(error, (Unauthenticated, Forbidden)):
        return Close(UNAUTHORIZED if credential.key is None else FORBIDDEN, f"{error.code}: {error}")
    if isinstance(error, BadRequest):
        return Close(BAD_MESSAGE, f"{error.code}: {error}")
    if isinstance(error, RetryLater) and error.limit:
        reason = f"{error.code}: the limit {error.limit} is reached; retry after {error.retry_after} s"
        return Close(TRY_AGAIN_LATER, reason)
    if isinstance(error, DropzoneError):
        return Close(TRY_AGAIN_LATER, f"{error.code}: {error}")
    described = error_entries.describe_unexpected(error, "the credential of a WebSocket")
    return Close(INTERNAL_ERROR, f"INTERNAL: {described['extensions']['id']}")


def too_slow(operation_id: str, error: TooSlow) -> bytes:
    """Return the last message of an operation whose client reads too slowly."""
    return encode("error", operation_id, [error_entries.describe(error)])


def encode(kind: str, operation_id: str | None, payload: object) -> bytes:
    """Return a message of the server in JSON."""
    message: dict[str, object] = {"type": kind}
    if operation_id is not None:
        message["id"] = operation_id
    if isinstance(payload, msgspec.Raw):
        message["payload"] = orjson.Fragment(bytes(payload))
    elif payload is not msgspec.UNSET:
        message["payload"] = payload
    return orjson.dumps(message)
