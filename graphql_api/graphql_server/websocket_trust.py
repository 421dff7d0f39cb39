"""Whether the client of a WebSocket has authenticated itself.

The protocol authenticates the client, and the connection needs the outcome. Before that, a client may send only a few
frames, and may be disconnected to admit another client. Afterwards, its large messages count towards the memory of its
submitter. The connection registers one `WebSocketTrust` in the ASGI scope, under `scope["state"]["websocket trust"]`.
"""

from collections.abc import Callable

from starlette.types import Scope

from graphql_api.budgets.memory_budget import Reservation

_STATE_KEY = "websocket trust"


class WebSocketTrust:
    """The trust in the client of one WebSocket. It is granted when the client has authenticated itself."""

    def __init__(self, scope: Scope, on_grant: Callable[[], None]) -> None:
        self.reservation: Reservation | None = None
        """The memory of large messages. None until the client has authenticated itself."""
        self._on_grant = on_grant
        scope["state"][_STATE_KEY] = self

    def grant(self, reservation: Reservation) -> None:
        """Note that the client has authenticated itself."""
        self.reservation = reservation
        self._on_grant()


def grant_trust(scope: Scope, reservation: Reservation) -> None:
    """Tell the connection of a WebSocket that its client has authenticated itself.

    The connection resizes `reservation` to the size of a large message.
    """
    trust = scope["state"].get(_STATE_KEY)
    if isinstance(trust, WebSocketTrust):
        trust.grant(reservation)
