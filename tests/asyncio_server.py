"""Closes a server of asyncio while clients may connect to it.

asyncio accepts a connection in one step of the event loop, and starts to serve it in the next steps. If the server is
closed in between, asyncio forgets the connection without closing it. Python then warns about an unclosed transport when
it frees the transport, and this warning fails the test that runs at that time.
"""

import asyncio

_STEPS = 5
"""The number of steps of the loop from an accepted connection to the start of its handler, and one more."""


async def close(server: asyncio.Server) -> None:
    """Accept no more connections, start the handlers of those that are accepted, and close the server."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in range(_STEPS):
        await asyncio.sleep(0)
    server.close()
