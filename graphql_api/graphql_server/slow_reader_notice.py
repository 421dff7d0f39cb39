"""The last message to a client that reads too slowly: the error TOO_SLOW, with the cursor after which to resume.

A stream or WebSocket registers one notice in its ASGI scope, under `scope["state"]["slow reader notice"]`.
The notice records the cursor of every response that the stream or WebSocket sends. If the stall timer expires, the
connection writes the messages of the notice and then closes. The client gets these messages when it reads again.
"""

from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from graphql_api.errors import TooSlow

_STATE_KEY = "slow reader notice"


class SlowReaderNotice:
    """The last cursor of each operation, and the messages with which a connection ends.

    `encode` turns the id of an operation and its error into one message of the protocol.
    """

    def __init__(self, scope: Scope, encode: Callable[[str, TooSlow], bytes]) -> None:
        self._encode = encode
        self._cursors: dict[str, str] = {}
        scope["state"][_STATE_KEY] = self

    def begin(self, operation_id: str = "") -> None:
        """Add an operation that has not sent a response yet."""
        self._cursors[operation_id] = ""

    def record(self, cursor: str, operation_id: str = "") -> None:
        """Record the cursor of the response that the operation has just sent."""
        self._cursors[operation_id] = cursor

    def end(self, operation_id: str = "") -> None:
        """Remove an operation that has ended."""
        del self._cursors[operation_id]

    def messages(self) -> list[bytes]:
        """Return one message for each operation that has not ended."""
        return [self._encode(operation_id, TooSlow(cursor)) for operation_id, cursor in self._cursors.items()]


def notice_of(scope: Any) -> SlowReaderNotice | None:
    """Return the notice of a request, or None if its response cannot be resumed."""
    notice = scope["state"].get(_STATE_KEY)
    return notice if isinstance(notice, SlowReaderNotice) else None
