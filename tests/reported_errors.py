"""The errors that an event loop reports: those of callbacks, and of tasks that nothing awaits."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def reported_errors() -> Iterator[list[dict[str, Any]]]:
    """Collect what the event loop reports in this context.

    All async tests of a process share the loop. Afterwards, an error fails again the test during which it is reported.
    """
    loop, reported = asyncio.get_running_loop(), list[dict[str, Any]]()
    handler_of_anyio = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    try:
        yield reported
    finally:
        loop.set_exception_handler(handler_of_anyio)
