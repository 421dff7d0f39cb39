"""Ends the work on a request when its client disconnects."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`. If the client disconnects first, end the work and raise `ClientDisconnect`.

    Call this after the request body is received.
    """
    working = asyncio.create_task(work)
    disconnected = asyncio.create_task(wait_until_disconnected(receive))
    try:
        await asyncio.wait({working, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        disconnected.cancel()
        await asyncio.gather(working, disconnected, return_exceptions=True)
        del working  # the error of the task refers to this frame


async def wait_until_disconnected(receive: Receive) -> None:
    """Return when the client disconnects. Call this after the request body is received."""
    while (await receive())["type"] != "http.disconnect":
        pass
