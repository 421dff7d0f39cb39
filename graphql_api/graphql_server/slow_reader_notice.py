"""The last message to a client that reads too slowly: the error TOO_SLOW with the cursor to resume from.

A stream of responses and a WebSocket each register one notice in their ASGI scope, under
`scope["state"]["slow reader notice"]`, and record there the cursor of every response they send.
When the stall timer of the connection expires, the connection takes the notice from the scope and
writes its messages as the last of the stream. The client finds them when it reads again.
"""

from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from graphql_api.errors import TooSlow

_STATE_KEY = "slow reader notice"


class SlowReaderNotice:
    """The cursors that a connection has sent, and the messages that end it.

    `encode` turns the id of an operation and its error into one message of the protocol.
    """

    def __init__(self, scope: Scope, encode: Callable[[str, TooSlow], bytes]) -> None:
        self._encode = encode
        self._cursors: dict[str, str] = {}
        scope["state"][_STATE_KEY] = self

    def begin(self, operation_id: str = "") -> None:
        """Include an operation that has sent no response yet."""
        self._cursors[operation_id] = ""

    def record(self, cursor: str, operation_id: str = "") -> None:
        """Replace the cursor of an operation by that of the response that was just sent."""
        self._cursors[operation_id] = cursor

    def end(self, operation_id: str = "") -> None:
        """Leave out an operation that has ended."""
        del self._cursors[operation_id]

    def messages(self) -> list[bytes]:
        """Return one message for each operation that has not ended."""
        return [self._encode(operation_id, TooSlow(cursor)) for operation_id, cursor in self._cursors.items()]


def notice_of(scope: Any) -> SlowReaderNotice | None:
    """Return the notice of a request, or None if its response cannot be resumed."""
    notice = scope["state"].get(_STATE_KEY)
    return notice if isinstance(notice, SlowReaderNotice) else None
