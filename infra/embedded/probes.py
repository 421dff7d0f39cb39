"""Probes of a process: whether it is ready for work, and whether it still responds.

An address is one of these:

- `http://host:port/path`: an HTTP endpoint. To prove that the endpoint knows a secret, it responds to the header
  `x-nonce: NONCE` with the HMAC-SHA256 of `healthz:NONCE` in hexadecimal.
- `https://host:port/path`: the same over TLS. The certificate is not verified, because it names the host that clients
  use. The supervisor connects to a socket that it holds itself.
- `grpc://host:port`: a gRPC server
- `tcp://host:port`: a process that opens its port itself when it is ready

A process with an HTTP endpoint is ready if it responds with a status from 200 to 499. A gRPC server is ready if it
sends its HTTP/2 settings. A process with a `tcp` address is ready if it accepts the connection.

A process is alive if it responds in any way, even with an error status or the end of the connection. A process that
refuses work because of a limit is therefore not killed. A process hangs only if it does not respond. The supervisor
holds the listening sockets, so the kernel accepts connections even if a process hangs or has ended.
"""

import asyncio
import hashlib
import hmac
import math
import re
import secrets
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from urllib.parse import urlsplit

from infra.embedded.stack_file.stack import Liveness

POLL_SECONDS = 0.02
READY_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 65_536

_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEADER_BYTES, _FRAME_TYPE, _SETTINGS = 9, 3, 4


async def wait_until_ready(address: str, secret: str | None = None) -> None:
    """Return when the address is ready. With a secret, the process must also prove that it knows the secret."""
    while True:
        if await _is_ready(address, secret):
            return
        await asyncio.sleep(POLL_SECONDS)


async def wait_until_silent(liveness: Liveness, max_start_seconds: float) -> None:
    """Return when the process has not responded to `max_failures` probes in a row.

    The process has `max_start_seconds` until its first response. If a probe ends late, the supervisor itself did not
    run, because the machine is overloaded or was suspended. Such a probe does not count.
    """
    max_failures = max(liveness.max_failures, math.ceil(max_start_seconds / liveness.interval_seconds))
    failures = 0
    while failures < max_failures:
        started = time.monotonic()
        if await _is_alive(liveness):
            failures, max_failures = 0, liveness.max_failures
            await asyncio.sleep(liveness.interval_seconds)
        elif time.monotonic() - started < 1.5 * liveness.interval_seconds:
            failures += 1


async def _is_ready(address: str, secret: str | None) -> bool:
    url = urlsplit(address)
    nonce = secrets.token_urlsafe(16)
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS), _opened(address, nonce) as reader:
            if url.scheme == "tcp":
                return True
            if url.scheme == "grpc":
                return (await reader.readexactly(_FRAME_HEADER_BYTES))[_FRAME_TYPE] == _SETTINGS
            response = await reader.read()
    except (OSError, EOFError, TimeoutError):
        return False
    if secret is not None:
        proof = hmac.digest(secret.encode(), f"healthz:{nonce}".encode(), hashlib.sha256).hex()
        return proof.encode() in response
    return re.match(rb"HTTP/1\.[01] [2-4]", response) is not None


async def _is_alive(liveness: Liveness) -> bool:
    try:
        async with asyncio.timeout(liveness.interval_seconds), _opened(liveness.address) as reader:
            await reader.read(1)
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def _opened(address: str, nonce: str = "") -> AsyncIterator[asyncio.StreamReader]:
    """Connect to an address and send a request. Raises `OSError`."""
    url = urlsplit(address)
    tls = _unverified() if url.scheme == "https" else None
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=MAX_RESPONSE_BYTES, ssl=tls)
    try:
        if url.scheme == "grpc":
            writer.write(_HTTP2_PREFACE)
        elif url.scheme in ("http", "https"):
            writer.write(f"GET {url.path or '/'} HTTP/1.0\r\nhost: {url.netloc}\r\nx-nonce: {nonce}\r\n\r\n".encode())
        yield reader
    finally:
        writer.transport.abort()
