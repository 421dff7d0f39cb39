"""Serves an aiohttp application in the event loop of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.ports import free_port


@asynccontextmanager
async def serving(app: web.Application, port: int | None = None, **options: Any) -> AsyncIterator[str]:
    """Yield the URL of `app`, on `port` or a free port. The options are those of `web.AppRunner`."""
    runner = web.AppRunner(app, **options)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
