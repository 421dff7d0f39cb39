"""An asynchronous client after `close`, and in another event loop."""

import asyncio
import os
import subprocess
import sys

import pytest

from dropzone import AsyncClient, ClientClosed
from tests.stack import PATIENCE_SECONDS, Stack

SAMPLE = b'{"time_stamp": "2026-12-02T00:00:00Z", "data": [1]}'


async def test_close_ends_a_stream_and_all_later_requests(stack: Stack) -> None:
    """The stream would otherwise have no end, and a request would open connections that are never closed."""
    client = AsyncClient(stack.url, stack.new_key("closed-async"))
    await anext(client.wait([(await client.submit(SAMPLE)).id]))
    edges = client.watch(after="")
    await anext(edges)
    watching = asyncio.ensure_future(anext(edges))
    await asyncio.sleep(0)

    await client.close()

    for request in (watching, client.submit(SAMPLE), client.summary(), anext(client.watch())):
        with pytest.raises(ClientClosed, match="the client is closed"):
            await asyncio.wait_for(request, PATIENCE_SECONDS)
    await client.close()


def test_a_client_of_another_event_loop_is_refused(stack: Stack) -> None:
    """Its connections belong to the first event loop, which can be closed. aiohttp raised a `RuntimeError`."""
    client = AsyncClient(stack.url, stack.new_key("two-event-loops"))

    async def use() -> None:
        await client.submit(SAMPLE)
        await client.summary()

    with asyncio.Runner() as runner:
        runner.run(use())
        for call in (client.summary, lambda: client.submit(SAMPLE)):
            with pytest.raises(ClientClosed, match="another event loop"):
                asyncio.run(call())
        runner.run(client.close())


def test_a_client_of_another_process_is_refused(stack: Stack) -> None:
    """Both processes would send requests over one connection, and each could read the response of the other.

    A client that was not used before the fork has no connections.
    """
    program = """
import asyncio, os
from dropzone import AsyncClient, ClientClosed
with asyncio.Runner() as runner:
    client, unused = AsyncClient(), AsyncClient()
    runner.run(client.whoami())
    if os.fork() == 0:
        try:
            runner.run(client.whoami())
        except ClientClosed as error:
            print(error)
        print(runner.run(unused.whoami()).submitter, flush=True)
        os._exit(0)
    os.wait()
    print(runner.run(client.whoami()).submitter)
    runner.run(client.close())
"""
    environment = os.environ | {"DROPZONE_URL": stack.url, "DROPZONE_KEY": stack.new_key("forked-async")}

    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=50)

    sentence = "this client belongs to another process; create a client in each process"
    assert ran.stdout.splitlines() == [sentence, "forked-async", "forked-async"], ran.stderr
