"""A reverse proxy that refuses large requests, as Google Cloud does in front of Cloud Run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Self

import aiohttp
from aiohttp import web

from tests.aiohttp_server import serving
from tests.ports import free_port

CLOUD_RUN_BYTES = 32 * 2**20


class LimitingProxy:
    """Forwards requests of up to `max_bytes` to `target`. Larger ones get a page with the status 413."""

    def __init__(self, target: str, max_bytes: int = CLOUD_RUN_BYTES) -> None:
        self.sizes: list[int] = []
        """The sizes of the bodies that were forwarded."""
        self.refused = 0
        self.port = free_port()
        self._target = target
        self._max_bytes = max_bytes

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve while the context is open."""
        app = web.Application(client_max_size=2**40)
        app.router.add_route("*", "/{path:.*}", self._forward)
        async with serving(app, self.port, auto_decompress=False):
            yield self

    async def _forward(self, request: web.Request) -> web.Response:
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
        if len(body) > self._max_bytes:
            self.refused += 1
            return web.Response(status=413, text="<html><title>413</title></html>", content_type="text/html")
        self.sizes.append(len(body))
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        timeout = aiohttp.ClientTimeout(total=120)
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.request(
                request.method, self._target + request.path_qs, data=BytesIO(body), headers=headers
            ) as reply,
        ):
            kept = {name: value for name, value in reply.headers.items() if name.lower() in _KEPT_HEADERS}
            return web.Response(status=reply.status, body=await reply.read(), headers=kept)


_KEPT_HEADERS = {"content-type", "upload-limit", "retry-after", "location", "allow", "etag"}
