"""The time, the process and the event loop in which the connections of a client can be used."""

import asyncio
import os

from dropzone.errors import ClientClosed


class Lifetime:
    """It starts with the first request, in the process and event loop of this request, and ends with `end`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process_id: int | None = None
        self._is_over = False

    def check(self) -> None:
        """Raise `ClientClosed` after the end, and in another process or event loop: it would share open connections."""
        if self._process_id not in (None, os.getpid()):
            raise other_process()
        if self._is_over:
            raise ClientClosed("the client is closed; create another client")
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise ClientClosed("this client was used in another event loop; create a client in each event loop")
        self._loop, self._process_id = loop, os.getpid()

    def end(self) -> None:
        """End it. Requests in progress fail, and `check` then raises their error."""
        self._is_over = True


def other_process() -> ClientClosed:
    """Return the error of a client that is used in a forked process."""
    return ClientClosed("this client belongs to another process; create a client in each process")
