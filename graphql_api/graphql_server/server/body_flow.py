"""The flow of a body: when a connection reads more data, and when the application starts to read the body."""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl


class BodyFlow(FlowControl):
    """uvicorn's flow control. While data is held, the application cannot resume reading."""

    is_wanted = True
    """Whether the application has started to read the body of the current request."""

    _is_held = False

    def __init__(self, transport: asyncio.Transport, on_wanted: Callable[[], None]) -> None:
        super().__init__(transport)
        self._on_wanted: Callable[[], None] | None = on_wanted

    def forget(self) -> None:
        """Forget the connection, because it refers to this object too."""
        self._on_wanted = None

    def hold(self) -> None:
        """Stop reading until `release`."""
        self._is_held = True
        self.pause_reading()

    def release(self) -> None:
        """Allow reading again."""
        self._is_held = False
        if not self._transport.is_closing():
            super().resume_reading()

    def resume_reading(self) -> None:
        """Read more data, unless data is held. uvicorn calls this method when the application reads the body."""
        if not self.is_wanted:
            self.is_wanted = True
            if self._on_wanted is not None:
                self._on_wanted()
        if not self._is_held:
            super().resume_reading()
