"""The way to one server: HTTP for samples, GraphQL for everything else, WebSockets to watch.

Every fault leaves here as a `DropzoneError`, never as one of the libraries below. Whoever retries must know
that an answer may be lost behind its commit, so `retrying` is for what may be done twice: queries, and submissions with
an idempotency key.
"""

import asyncio
import json
import os
import random
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from io import BytesIO
from typing import Any, TypeVar

import aiohttp
import gql
import yarl
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import (
    TransportError,
    TransportQueryError,
    TransportServerError,
)

from dropzone.errors import TRANSIENT, DropzoneError, NotFound, Unavailable, UnexpectedAnswer, Unreachable, described
from dropzone.model import Receipt

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_PING_SECONDS = 15.0
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.2, 5.0
_BUFFERED_BYTES = 64 * 1024  # larger bodies are sent in pieces, so that they do not hold up the others
_GATEWAY_STATUSES = frozenset({429, 502, 503, 504})

_parsed = lru_cache(maxsize=64)(gql.gql)


class Pauses:
    """How long to wait before the next try: what the server asks for, and longer and longer, at random."""

    def __init__(self) -> None:
        self._longest = _FIRST_PAUSE_SECONDS

    def after(self, error: DropzoneError) -> float:
        """Return the pause after one more failure."""
        pause = (error.retry_after or 0.0) + random.uniform(0.0, self._longest)
        self._longest = min(2 * self._longest, _MAX_PAUSE_SECONDS)
        return pause


class Connection:
    """A pool of connections to the server at `url`, used with one `key`."""

    def __init__(self, url: str, key: str, patience: float) -> None:
        self.url = str(address(url).with_query(None).with_fragment(None)).rstrip("/")
        self._key = key
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None
        self._graphql: Any = None

    async def close(self) -> None:
        """Close everything that is open."""
        if self._graphql is not None:
            await self._graphql.client.close_async()
            self._graphql = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` gives, trying again what may pass for as long as the patience lasts."""
        deadline = time.monotonic() + self._patience
        pauses = Pauses()
        while True:
            try:
                return await attempt()
            except TRANSIENT as error:
                pause = pauses.after(error)
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)

    async def post_sample(self, raw: bytes, idempotency_key: str | None) -> Receipt:
        """Send one sample, once."""
        headers = {"content-type": "application/json"}
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        body = raw if len(raw) <= _BUFFERED_BYTES else BytesIO(raw)
        status, retry_after, answer = await self._request("POST", "/samples", body, headers)
        given = _json(answer)
        if isinstance(given, dict) and given.keys() >= {"id", "state", "problems"}:
            return Receipt.parse(given)
        raise self._refusal(status, retry_after, given)

    async def get_sample(self, sample_id: str) -> bytes:
        """Return the bytes as they were submitted, asking once."""
        try:
            uuid.UUID(sample_id)
        except ValueError:  # as a part of an address it could lead anywhere
            raise NotFound(f"there is no sample {sample_id}") from None
        status, retry_after, answer = await self._request("GET", f"/samples/{sample_id}")
        if status != 200:
            raise self._refusal(status, retry_after, _json(answer))
        return answer

    async def query(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the data of a GraphQL query, asking once."""
        request = gql.GraphQLRequest(_parsed(document), variable_values=dict(variables or {}))
        try:
            if self._graphql is None:
                transport = AIOHTTPTransport(
                    f"{self.url}/graphql", headers=self._headers(), client_session_args={"timeout": _timeout()}
                )
                client: Any = gql.Client(transport=transport, execute_timeout=None)
                self._graphql = await client.connect_async()
            data: dict[str, Any] = await self._graphql.execute(request)
        except (TransportError, TimeoutError) as error:
            raise self._fault(error) from error
        return data

    async def subscribe(self, document: str, variables: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the data of a GraphQL subscription until it completes or the connection breaks."""
        request = gql.GraphQLRequest(_parsed(document), variable_values=dict(variables))
        async with aiohttp.ClientSession() as connections:  # gql's own would stay open where nobody answers
            transport = AIOHTTPWebsocketsTransport(
                f"{self.url}/graphql",
                subprotocols=[AIOHTTPWebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
                init_payload={"x-api-key": self._key},
                connect_timeout=_CONNECT_SECONDS,
                close_timeout=1.0,
                ping_interval=_PING_SECONDS,
                pong_timeout=_PING_SECONDS,
                session=connections,
            )
            try:
                async with gql.Client(transport=transport) as session, aclosing(session.subscribe(request)) as answers:
                    async for data in answers:
                        yield data
            except (TransportError, TimeoutError) as error:
                raise self._fault(error) from error

    async def _request(
        self, method: str, path: str, body: bytes | BytesIO | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str | None, bytes]:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)  # who calls decides how many are under way
            self._session = aiohttp.ClientSession(headers=self._headers(), connector=connector, timeout=_timeout())
        try:
            async with self._session.request(
                method, self.url + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status, response.headers.get("retry-after"), await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._fault(error) from error

    def _headers(self) -> dict[str, str]:
        return {"x-api-key": self._key}

    def _refusal(self, status: int, retry_after: str | None, given: Any) -> DropzoneError:
        """Return the error of an answer outside GraphQL."""
        if isinstance(given, dict) and isinstance(given.get("error"), dict):
            error = described(given["error"])
        else:
            error = self._status(status)
        if retry_after is not None and retry_after.isdecimal():
            error.retry_after = float(retry_after)
        return error

    def _fault(self, error: Exception) -> DropzoneError:
        if isinstance(error, TransportQueryError) and error.errors and isinstance(error.errors[0], dict):
            return described(error.errors[0])
        if isinstance(error, TransportServerError) and error.code is not None:
            return self._status(error.code)
        cause = error.__cause__ if isinstance(error, TransportError) and error.__cause__ else error
        if isinstance(cause, aiohttp.WSServerHandshakeError):
            return self._status(cause.status)
        if isinstance(cause, aiohttp.ContentTypeError | json.JSONDecodeError | aiohttp.InvalidURL):
            return UnexpectedAnswer(f"{self.url} answers, but not as Dropzone does")
        if isinstance(cause, aiohttp.ClientSSLError):
            _, fault = cause.args  # its number is none of the system's
            reason = getattr(fault, "verify_message", None) or str(fault.reason).replace("_", " ").lower()
            return Unreachable(f"there is no secure connection to {self.url}: {reason}")
        if isinstance(cause, aiohttp.ClientConnectorError):
            reason = os.strerror(cause.errno) if cause.errno else cause.os_error
            return Unreachable(f"nothing answers at {self.url}: {reason}")
        return Unreachable(f"the connection to {self.url} broke: {cause or type(cause).__name__}")

    def _status(self, status: int) -> DropzoneError:
        if status in _GATEWAY_STATUSES:
            return Unavailable(f"{self.url} is busy or down: HTTP status {status}")
        return UnexpectedAnswer(f"{self.url} answers, but not as Dropzone does: HTTP status {status}")


def address(url: str) -> yarl.URL:
    """Return where a server is. Raises `ValueError` for what is no such address."""
    parsed = yarl.URL(url)
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError(f"expected an address such as https://dropzone.example.org, got {url!r}")
    return parsed


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_ANSWER_SECONDS)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
