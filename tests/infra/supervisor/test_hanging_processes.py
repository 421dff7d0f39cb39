"""A process that hangs is killed and restarted. A process that answers anything is left alone."""

import asyncio
import contextlib
import hashlib
import hmac
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.embedded.probes import wait_until_ready, wait_until_silent
from infra.embedded.stack_file.stack import Liveness
from tests import asyncio_server
from tests.infra.supervisor.run import Run, is_running
from tests.ports import free_port

Start = Callable[..., Run]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

INTERVAL_SECONDS = 0.1


@pytest.fixture
def stack(two_servers: str) -> str:
    """A stack file whose first server has a liveness address."""
    liveness = 'liveness = { address = "http://{host}:{first_port}/", interval_seconds = 0.5, max_failures = 4 }\n'
    return two_servers.replace('port_setting = "first_port"\n', f'port_setting = "first_port"\n{liveness}')


def test_a_process_that_hangs_is_killed_and_restarted(start: Start, stack: str) -> None:
    """The supervisor noticed only the end of a process, so a blocked event loop stopped the stack forever."""
    run = start(stack)
    run.until("everything is ready")
    hanging = run.pid("first")

    os.kill(hanging, signal.SIGSTOP)
    run.until("first is ready again")

    assert not is_running(hanging)
    assert run.pid("first") != hanging
    assert re.search(r"first hangs and is killed: no response from http://127.0.0.1:\d+/ for 2 s", run.text)
    assert run.text.count("second runs as") == 1


async def respond_with_an_error(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond that the process is overloaded."""
    await reader.readline()
    writer.write(b"HTTP/1.0 503 Service Unavailable\r\n\r\n")


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse a connection, as a process with too many connections does."""


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset a connection."""
    del reader
    writer.transport.abort()


async def respond_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond within the interval, but not at once."""
    await reader.readline()
    await asyncio.sleep(INTERVAL_SECONDS / 4)
    writer.write(b"HTTP/1.0 200 OK\r\n\r\n")


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """Serve connections; yield the address."""
    handling: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.current_task())
        with contextlib.suppress(EOFError, OSError):  # the client has gone
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio_server.close(server)
        await asyncio.gather(*filter(None, handling))


@pytest.mark.parametrize("handler", [respond_with_an_error, close, reset, respond_late])
async def test_any_answer_shows_that_a_process_is_alive(handler: Handler) -> None:
    """A process that refuses work is loaded. To kill it would make matters worse.

    On a busy machine, a few probes in a row can fail.
    """
    connections, max_failures = 0, 10
    is_enough = asyncio.Event()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections > max_failures:
            is_enough.set()
        await handler(reader, writer)

    async with served(count) as address, asyncio.timeout(60):
        silent = asyncio.create_task(wait_until_silent(Liveness(address, INTERVAL_SECONDS, max_failures), 0))
        waiting = asyncio.create_task(is_enough.wait())
        done, _ = await asyncio.wait([silent, waiting], return_when=asyncio.FIRST_COMPLETED)
        silent.cancel()
        waiting.cancel()

    assert done == {waiting}


async def test_silence_shows_that_a_process_hangs() -> None:
    """The kernel accepts the connections."""
    released = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()

    async with served(say_nothing) as address, asyncio.timeout(60):
        await wait_until_silent(Liveness(address, INTERVAL_SECONDS, max_failures=3), 0)
        released.set()


async def test_a_process_may_take_long_to_start() -> None:
    """Until its first answer, it has as much time as at the start of the stack: here, more than the test."""
    connections = 0
    answered = range(6, 9)

    async def answer_three(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections not in answered:
            await reader.read()

    async with served(answer_three) as address, asyncio.timeout(60):
        await wait_until_silent(Liveness(address, INTERVAL_SECONDS, max_failures=2), 1_000 * INTERVAL_SECONDS)

    assert connections >= answered[-1] + 2  # more if the machine is loaded: a probe that ends late does not count


async def test_a_process_is_ready_when_it_has_proved_its_identity() -> None:
    """A server that does not know the secret is never ready."""
    known = "wrong"

    async def prove(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        (nonce,) = re.findall(rb"x-nonce: (\S+)", request)
        proof = hmac.digest(known.encode(), b"healthz:" + nonce, hashlib.sha256).hex()
        writer.write(f"HTTP/1.0 200 OK\r\n\r\n{proof}".encode())

    async with served(prove) as address, asyncio.timeout(60):
        ready = asyncio.create_task(wait_until_ready(address, "secret"))
        done, _ = await asyncio.wait([ready], timeout=5 * INTERVAL_SECONDS)
        known = "secret"
        await ready

    assert not done


def test_a_crash_loop_does_not_raise_the_pause(start: Start, two_servers: str) -> None:
    """One sample that kills the function delays the results of all others by each pause."""
    run = start(two_servers)
    run.until("everything is ready")

    for times in range(1, 6):
        os.kill(run.pid("first"), signal.SIGKILL)
        run.until("first is ready again", times)

    assert " restarting\n" in f"{run.text}\n"
    assert "restarting in" not in run.text


def test_a_process_that_does_not_become_ready_is_restarted_after_a_pause(start: Start, tmp_path: Path) -> None:
    """The pause limits the CPU time of a process that fails at every start."""
    port, started = free_port(), tmp_path / "started"
    (tmp_path / "once.py").write_text(
        "import http.server, pathlib, sys\n"
        f"pathlib.Path({str(started)!r}).touch(exist_ok=False)\n"
        f"http.server.HTTPServer(('127.0.0.1', {port}), http.server.BaseHTTPRequestHandler).handle_request()\n"
    )
    run = start(
        f'[[processes]]\nname = "once"\ncommand = ["{{python}}", "{tmp_path}/once.py"]\n'
        f'ready = "tcp://127.0.0.1:{port}"'
    )

    run.until("once exited with code 1; restarting in 0.2 s")

    assert "once exited with code 0; restarting\n" in run.text
