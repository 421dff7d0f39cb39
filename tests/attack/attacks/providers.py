"""Access tokens, for a stack that accepts the tokens of an identity provider. The attack runs the provider."""

import asyncio
import base64
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

from tests.attack.registry import add
from tests.attack.target import AUDIENCE, Harm, Target, repeat

_SIGNING = OKPKey.generate_key("Ed25519", {"kid": "signing"})
_SLOW = ECKey.generate_key("P-521", {"kid": "slow"})
"""Verifying a signature with this key takes 0.6 ms."""

_REGISTRY = jws.JWSRegistry(algorithms=["Ed25519", "ES512"])
_SECONDS_OF_SLOW_PROVIDER = 4.5
_CONNECTIONS = 64
_SIGN_INS = 600
_EXCHANGES_AT_A_TIME = 10


def _token(target: Target, *, kid: str = "signing", **changes: object) -> str:
    """Return a valid token. With another `kid`, the provider has not signed it."""
    now = int(time.time())
    claims = {
        "iss": f"http://127.0.0.1:{target.provider_port}",
        "sub": "attacker",
        "aud": AUDIENCE,
        "exp": now + 3_600,
        "iat": now,
        "client_id": "station",
        "scope": "submit read",
    }
    header = {"alg": "Ed25519", "typ": "at+jwt", "kid": kid}
    return jws.serialize_compact(header, json.dumps(claims | changes).encode(), _SIGNING, registry=_REGISTRY)


def _long(target: Target, number: int) -> str:
    return _token(target, jti=str(number), note="a" * 5_500)


def _of_unknown_key(target: Target, number: int) -> str:
    return _token(target, kid=f"key {number}")


def _forged(target: Target, number: int) -> str:
    """Return a token whose signature is of another token."""
    header = {"alg": "ES512", "typ": "at+jwt", "kid": "slow"}
    other = jws.serialize_compact(header, b"{}", _SLOW, registry=_REGISTRY).split(".")
    return ".".join([other[0], _token(target, jti=str(number)).split(".")[1], other[2]])


@asynccontextmanager
async def _provider(target: Target, seconds: float) -> AsyncIterator[Counter[bytes]]:
    """Serve the metadata and the keys of the provider. The keys take `seconds`, and a token takes forever.

    Yields how many requests each path has received.
    """
    issuer = f"http://127.0.0.1:{target.provider_port}"
    requests = Counter[bytes]()
    documents: dict[bytes, dict[str, Any]] = {
        b"/.well-known/openid-configuration": {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/keys",
            "token_endpoint": f"{issuer}/token",
        },
        b"/token": {},
        b"/keys": {"keys": [key.as_dict(private=False) for key in (_SIGNING, _SLOW)]},
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            requests[path] += 1
            if path == b"/keys":
                await asyncio.sleep(seconds)
            elif path == b"/token":
                await reader.read()
            body = json.dumps(documents[path]).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", target.provider_port):
        yield requests


async def tokens(make: Callable[[Target, int], str], provider_seconds: float, target: Target) -> None:
    """Send requests over many connections, each with another token."""
    numbers = itertools.count()

    async def act() -> None:
        async with target.connection() as (reader, writer):
            while True:
                token = make(target, next(numbers))
                writer.write(target.head("/session", f"authorization: Bearer {token}", method="GET", key=False))
                head = await reader.readuntil(b"\r\n\r\n")
                _, _, rest = head.lower().partition(b"content-length: ")
                await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))

    async with _provider(target, provider_seconds):
        await repeat(target, _CONNECTIONS, act)


async def sign_ins_that_hang(target: Target) -> None:
    """Finish 600 sign-ins at a provider that exchanges no code, and disconnect. Use a token of the same address."""
    cookie = base64.urlsafe_b64encode(json.dumps(["state", "verifier", "/"]).encode()).decode()
    sign_in = target.head(
        "/session/callback?state=state&code=code",
        f"cookie: dropzone_session_{target.api_port}_sign_in={cookie}",
        method="GET",
        key=False,
    )
    async with _provider(target, 0.0) as requests, httpx.AsyncClient(base_url=target.url) as client:
        async with AsyncExitStack() as opened:
            for _ in range(_SIGN_INS):
                _, writer = await opened.enter_async_context(target.connection())
                writer.write(sign_in)
            await asyncio.sleep(target.seconds / 2)
            headers = {"authorization": f"Bearer {_token(target)}"}
            try:
                response = await client.get("/session", headers=headers, timeout=5)
            except httpx.TimeoutException:
                raise Harm("a valid token waits for the sign-ins of other clients") from None
            if response.status_code != httpx.codes.OK:
                raise Harm(f"a valid token is refused: {response.status_code} {response.text}")
        await asyncio.sleep(1)
        exchanges = requests[b"/token"]
        if not exchanges:
            raise Harm("the attack itself failed: no code was exchanged")
        await asyncio.sleep(target.seconds)
        if requests[b"/token"] > exchanges + _EXCHANGES_AT_A_TIME:
            raise Harm(f"{requests[b'/token'] - exchanges} codes were exchanged for clients that are gone")


add("tokens_of_8_kib", partial(tokens, _long, 0.0), has_provider=True, is_short=True)
add("tokens_of_unknown_keys", partial(tokens, _of_unknown_key, 0.0), has_provider=True)
add("tokens_of_a_slow_provider", partial(tokens, _of_unknown_key, _SECONDS_OF_SLOW_PROVIDER), has_provider=True)
add("tokens_that_are_forged", partial(tokens, _forged, 0.0), has_provider=True)
add("sign_ins_that_hang", sign_ins_that_hang, has_provider=True, is_short=True)
