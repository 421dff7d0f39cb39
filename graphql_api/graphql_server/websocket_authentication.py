"""Whether the client of a WebSocket has authenticated itself.

The protocol authenticates the client, and the connection needs the outcome. Before that, a client may send only a few
frames, and may be disconnected to admit another client. Afterwards, its large messages count towards the memory of its
submitter. The connection registers one `WebSocketAuthentication` in the ASGI scope, under
`scope["state"]["websocket authentication"]`.
"""

from collections.abc import Callable

from starlette.types import Scope

from graphql_api.budgets.memory_budget import Reservation
from graphql_api.graphql_server.settings import ServerSettings

_STATE_KEY = "websocket authentication"


class WebSocketAuthentication:
    """The authentication of the client of one WebSocket. `on_complete` is called when it is complete."""

    def __init__(self, scope: Scope, on_complete: Callable[[], None], settings: ServerSettings) -> None:
        self.reservation: Reservation | None = None
        """The memory of large messages. None until the client has authenticated itself."""
        self._on_complete = on_complete
        self._settings = settings
        self._frames = self._bytes = 0
        scope["state"][_STATE_KEY] = self

    def complete(self, reservation: Reservation) -> None:
        """Note that the client has authenticated itself."""
        self.reservation = reservation
        self._on_complete()

    def admit_data(self, size: int, is_frame_complete: bool) -> bool:
        """Count data of the client until it has authenticated itself. Return False if it exceeds a limit."""
        if self.reservation is not None:
            return True
        self._bytes += size
        self._frames += is_frame_complete
        settings = self._settings
        return self._frames <= settings.max_unauthenticated_frames and self._bytes <= settings.max_unauthenticated_bytes


def set_authenticated(scope: Scope, reservation: Reservation) -> None:
    """Tell the connection of a WebSocket that its client has authenticated itself.

    The connection resizes `reservation` to the size of a large message.
    """
    authentication = scope["state"].get(_STATE_KEY)
    if isinstance(authentication, WebSocketAuthentication):
        authentication.complete(reservation)
