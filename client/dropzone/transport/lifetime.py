"""The time and the event loop in which the connections of a client can be used."""

import asyncio

from dropzone.errors import ClientClosed


class Lifetime:
    """It starts with the first request, in the event loop of this request, and ends with `end`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False

    def check(self) -> None:
        """Raise `ClientClosed` after the end, and in another event loop: open connections belong to the first one."""
        if self._is_over:
            raise ClientClosed("the client is closed; create another client")
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise ClientClosed("this client was used in another event loop; create a client in each event loop")
        self._loop = loop

    def end(self) -> None:
        """End it. Requests in progress fail, and `check` then raises their error."""
        self._is_over = True
