"""The last messages to a client that reads too slowly: the error TOO_SLOW, with the cursor after which to resume.

A stream or WebSocket that can be resumed sets its notice when it starts. If the stall timer expires, the connection
writes the messages of the notice and then closes. The client gets these messages when it reads again.
"""

from collections.abc import Callable, Sequence
from typing import Any

from starlette.types import Scope

_STATE_KEY = "slow reader notice"

Notice = Callable[[], Sequence[bytes]]
"""Returns one message of the protocol for each operation that has not ended."""


def set_notice(scope: Scope, notice: Notice) -> None:
    """Set the notice of a request."""
    scope["state"][_STATE_KEY] = notice


def notice_of(scope: Any) -> Notice | None:
    """Return the notice of a request, or None if its response cannot be resumed."""
    notice: Notice | None = scope["state"].get(_STATE_KEY)
    return notice
