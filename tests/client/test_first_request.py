"""`dropzone submit` retries its first request too: what it reads from a pipe may not be read again."""

import asyncio
import json
import subprocess

from aiohttp import web

from tests.aiohttp_server import serving
from tests.client.conftest import Start
from tests.client.limiting_proxy import LimitingProxy
from tests.stack import Stack

SAMPLE = b'{"time_stamp":"2026-11-27T00:00:00Z","data":[1]}'


class CuttingProxy(LimitingProxy):
    """A proxy that cuts the connection of the first request before it responds."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.cut = 0

    async def _forward(self, request: web.Request) -> web.Response:
        if self.cut:
            return await super()._forward(request)
        self.cut += 1
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


async def test_submit_retries_its_first_request(stack: Stack, start: Start) -> None:
    """It prints a warning, and submits the sample on standard input."""
    async with CuttingProxy(stack.url).running() as proxy:
        process = start(stack, stack.key, "submit", "--url", proxy.url, "-", stdin=subprocess.PIPE)
        output, errors = await asyncio.to_thread(process.communicate, SAMPLE)

    assert process.returncode == 0, errors
    assert json.loads(output)["state"] == "PENDING"
    assert proxy.cut == 1
    [warning] = [line for line in errors.decode().splitlines() if line.startswith("warning: ")]
    assert warning.startswith(f"warning: the connection to {proxy.url} broke: ")
    assert warning.endswith("; retrying for up to 60 s")


async def test_submit_does_not_repeat_its_first_request_before_the_server_allows_it(stack: Stack, start: Start) -> None:
    """The server is down for two hours. The command sent a second request at once, or announced that it retries."""
    requests = 0

    async def refuse(request: web.Request) -> web.Response:
        nonlocal requests
        del request
        requests += 1
        return web.Response(status=503, headers={"retry-after": "7200"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    async with serving(app) as url:
        process = start(stack, stack.key, "submit", "--url", url, "-", stdin=subprocess.PIPE)
        _, errors = await asyncio.to_thread(process.communicate, SAMPLE)

    assert process.returncode == 3, errors
    assert requests == 1
    assert errors.decode() == f"error: {url} is busy or down: HTTP status 503; try again later\n"
