"""Responses with a large body, which stays in memory until the client has received it."""

from contextlib import ExitStack
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class LargeResponse(Response):
    """A response that closes `held` when its client has received almost all of the body, or has disconnected.

    The server takes a body of any size at once. It takes the next message only when it has sent almost all of it.
    """

    def __init__(self, *arguments: Any, held: ExitStack, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        with self._held:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
