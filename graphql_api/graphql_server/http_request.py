"""An HTTP request: its headers, the credential in them, and its body.

A body is decompressed while it is received. Its size limit applies to the body as sent and to the decoded body. Its
time limit counts the time in which the server waits for the client, and not the time in which it processes the body.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing
from io import BytesIO
from typing import NamedTuple

from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from graphql_api.budgets.budget import Budget
from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES, Reservation
from graphql_api.errors import RequestTimeout
from graphql_api.graphql_server.body_decoder import Decoder, checked_start, decoded_pieces, decoder_of
from graphql_api.graphql_server.settings import GraphQLSettings
from graphql_api.graphql_server.tcp_state import has_lost_client
from storage.documents.errors import BadRequest, TooLarge, Unauthenticated, Unavailable

DEFAULTS = GraphQLSettings()
_BY_NAME = "headers by name"
_MIN_PACED_BYTES = 32 * 1024
"""After a chunk of this size, the next one of an uncompressed body is received in a later turn."""
_MAX_GROWTH = 8
"""The memory of a body, as a multiple of its received bytes. Clients can declare more bytes than they send."""


class Credential(NamedTuple):
    """The credential that a client sent. The key is not validated yet."""

    key: str | None
    """The API key, access token or session, or None if the client sent none."""
    address: str
    """The IP address of the client. Empty if it is not known."""
    is_cookie: bool = False
    """Whether the key is a session, which the browser sent by itself."""
    submitter: str | None = None
    """The submitter whose documents the request reads. None for the submitter of the key."""
    is_check: bool = False
    """Whether an open stream checks the credential again. This is not a request, so no limit of requests applies."""


def header(request: Request, name: bytes) -> bytes:
    """Return the value of a header, or `b""` if it is missing. The values of a repeated header are joined by commas."""
    return headers_by_name(request.scope).get(name, b"")


def headers_by_name(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers of a request by name. The values of a repeated header are joined by commas."""
    by_name: dict[bytes, bytes] | None = scope.get(_BY_NAME)
    if by_name is None:
        scope[_BY_NAME] = by_name = dict(scope["headers"])
        if len(by_name) < len(scope["headers"]):
            by_name.clear()
            for key, value in scope["headers"]:
                by_name[key] = b"%b,%b" % (by_name[key], value) if key in by_name else value
    return by_name


def credential(scope: Scope) -> Credential:
    """Return the credential of a request: the value of `x-api-key`, or the token of `Authorization: Bearer`.

    Without these headers, the credential is the session in the cookie, but only if a page of this server sent the
    request. If another site makes a browser send a request, the request therefore has no credential.

    Raises `Unauthenticated` if the headers contain two different keys, and `BadRequest` for two submitters.
    """
    key = submitter = None
    has_cookie = False
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            key = single_key(key, value.decode("latin-1"))
        elif name == b"authorization":
            key = single_key(key, bearer_token(value.decode("latin-1")))
        elif name == b"x-submitter":
            submitter = single_submitter(submitter, value.decode("latin-1"))
        elif name == b"cookie":
            has_cookie = True
    client = scope.get("client")
    address = client[0] if client else ""
    if key is None and has_cookie and is_same_origin(scope):
        session = cookie(scope, session_cookie(scope)) or None
        return Credential(session, address, session is not None, submitter)
    return Credential(key, address, submitter=submitter)


def is_same_origin(scope: Scope) -> bool:
    """Return whether a page of this server sent a request. Browsers send headers that say so.

    Over plain HTTP, browsers send `Sec-Fetch-Site` to loopback addresses only. The pages therefore send
    `X-Requested-With`, which no page of another origin can send without a preflight request.
    """
    headers = headers_by_name(scope)
    origin = headers.get(b"origin")
    if origin is not None:
        _, _, host = origin.partition(b"://")
        return bool(host) and host.lower() == headers.get(b"host", b"").lower()
    site = headers.get(b"sec-fetch-site")
    return b"x-requested-with" in headers if site is None else site == b"same-origin"


def session_cookie(scope: Scope) -> str:
    """Return the name of the cookie with the session. It contains the port, because cookies apply to all ports."""
    server = scope.get("server")
    name = f"dropzone_session_{server[1] if server else ''}"
    return f"__Host-{name}" if scope["scheme"] in ("https", "wss") else name


def cookie(scope: Scope, name: str) -> str:
    """Return the value of a cookie of this server, or an empty text if it is missing.

    The cookies of this server need no quotes. `http.cookies` removes quotes, and in some versions of Python, this takes
    a second for a header of 30 KB (CVE-2024-7592).
    """
    pattern = rb"(?:^|;)[ \t]*%b=([^;]*)" % re.escape(name.encode())
    found = re.search(pattern, headers_by_name(scope).get(b"cookie", b""))
    return "" if found is None else found[1].strip().decode("latin-1")


def single_key(key: str | None, other: str | None) -> str | None:
    """Return the key of a request that can contain two keys. Raises `Unauthenticated` if the two keys differ."""
    if key is None or other is None or key == other:
        return other if key is None else key
    raise Unauthenticated("got two different keys; send one, in the header x-api-key or as Authorization: Bearer")


def single_submitter(submitter: str | None, other: str) -> str:
    """Return the submitter of a request that can name two submitters. Raises `BadRequest` if the two names differ."""
    if submitter not in (None, other):
        raise BadRequest("expected the name of one submitter in x-submitter, got two different names")
    return other


def utf_8_text(request: Request, name: str) -> str | None:
    """Return the value of a header that holds text in UTF-8, or None if it is missing.

    Raises `BadRequest` if the text is not UTF-8, or if the header is repeated with another value.
    """
    values = {value for key, value in request.headers.raw if key == name.lower().encode()}
    if len(values) > 1:
        raise BadRequest(f"expected one header {name}, got {len(values)} with different values")
    try:
        return values.pop().decode() if values else None
    except UnicodeDecodeError:
        raise BadRequest(f"expected text in UTF-8 in the header {name}") from None


def bearer_token(authorization: str) -> str | None:
    """Return the token in the value of an Authorization header, or None if its scheme is not Bearer."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def any_turn() -> LoopTurn:
    """Return a turn for work that does not wait for other work."""
    return LoopTurns().of("")


async def read_body(
    request: Request,
    max_bytes: int,
    settings: GraphQLSettings = DEFAULTS,
    *,
    reserve: Callable[[], Reservation] | None = None,
    uploads: Budget | None = None,
    turn: Callable[[], LoopTurn] = any_turn,
) -> bytes:
    """Return the whole decoded body.

    If the body is large or compressed, the reservation that `reserve` returns grows to the size of the body. The caller
    releases the reservation. `turn` returns the turn in which such a body is received on the event loop. `uploads`
    limits the number of bodies over `MIN_RESERVED_BYTES` that are received at the same time.

    Raises `TooLarge` as soon as the body is known to exceed `max_bytes`, and `RequestTimeout` if it arrives too slowly.
    Raises `UnsupportedMediaType` if the content encoding is wrong, and `BadRequest` if the body cannot be decoded.
    Raises `Unavailable` if the memory budget or the memory is exhausted, and `RateLimited` if the share of the
    submitter or `uploads` is exhausted.
    """
    source = Source(request, max_bytes, settings)
    decoder = decoder_of(header(request, b"content-encoding"))
    first = checked_start(await source.receive(), decoder)
    if source.is_complete and decoder is None:
        return first

    def check(decoded_bytes: int) -> None:
        if decoded_bytes > max_bytes:
            raise TooLarge(f"expected a body of at most {max_bytes:,} bytes after decompression, got more")

    reservation = None if reserve is None else reserve()
    # `getvalue` returns the bytes of the buffer without a copy. The body is therefore in memory only once.
    buffer, capacity = BytesIO(), 0
    with ExitStack() as held:
        try:
            async with aclosing(decode(source, decoder, first, turn(), check)) as pieces:
                async for piece in pieces:
                    size = buffer.tell() + len(piece)
                    if reservation is not None:
                        reservation.resize(size)
                    if uploads is not None and buffer.tell() <= MIN_RESERVED_BYTES < size:
                        held.enter_context(uploads.hold())
                    if decoder is None and capacity < size < source.declared_bytes:
                        capacity = min(source.declared_bytes, _MAX_GROWTH * size)
                        buffer = _enlarged(buffer, capacity)
                    buffer.write(piece)
        except MemoryError:
            raise Unavailable("the server has too little memory for this body; send it again later") from None
        buffer.truncate()
        return buffer.getvalue()


def _enlarged(buffer: BytesIO, capacity: int) -> BytesIO:
    """Return a buffer with the written bytes of `buffer`, and with memory for `capacity` bytes.

    A buffer that grows by itself is copied many times. For a sample of 20 MB, this takes 40 of 250 ms with jemalloc.
    """
    enlarged = BytesIO(bytes(capacity))
    enlarged.write(buffer.getbuffer()[: buffer.tell()])
    return enlarged


class Source:
    """The body as sent, limited in size and time.

    The time budget starts with the grace period. Waiting for the client reduces the budget, and each received byte adds
    the time that it takes at the minimum rate. The budget never exceeds the grace period.
    """

    def __init__(self, request: Request, max_bytes: int | None, settings: GraphQLSettings) -> None:
        self.declared_bytes = int(header(request, b"content-length") or 0)
        if max_bytes is not None and self.declared_bytes > max_bytes:
            raise TooLarge(f"expected a body of at most {max_bytes:,} bytes, got {self.declared_bytes:,} bytes")
        self.is_complete = False
        self.received_bytes = 0
        self._request = request
        self._max_bytes = max_bytes
        self._rate = settings.min_body_bytes_per_second
        self._max_wait_seconds = self._wait_seconds = settings.body_grace_seconds

    async def receive(self) -> bytes:
        """Wait for the next chunk and return it. A chunk may be empty."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(began + self._wait_seconds):
                message = await self._request.receive()
        except TimeoutError:
            raise RequestTimeout(
                f"the body arrived at less than {self._rate:,} bytes per second; send the request again"
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self.is_complete = not message.get("more_body", False)
        self.received_bytes += len(chunk)
        if self._max_bytes is not None and self.received_bytes > self._max_bytes:
            raise TooLarge(f"expected a body of at most {self._max_bytes:,} bytes, got more")
        self._wait_seconds += len(chunk) / self._rate - (loop.time() - began)
        self._wait_seconds = min(self._wait_seconds, self._max_wait_seconds)
        return chunk

    def check_client(self) -> None:
        """Raise `ClientDisconnect` if the client has disconnected, even if it has sent data that is not received."""
        if has_lost_client(self._request.scope):
            raise ClientDisconnect


async def decode(
    source: Source, decoder: Decoder | None, chunk: bytes, turn: LoopTurn, check: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of a body that starts with `chunk`. `check` gets the number of decoded bytes, and may raise."""
    decoded_bytes = 0
    while True:
        if decoder is None and chunk:
            yield chunk
            if len(chunk) >= _MIN_PACED_BYTES and not source.is_complete:
                await turn.start()  # otherwise hundreds of uploads would be received in one iteration of the event loop
        elif decoder is not None:
            await turn.start()
            for piece in decoded_pieces(decoder, chunk):
                source.check_client()
                decoded_bytes += len(piece)
                check(decoded_bytes)
                if piece:
                    yield piece
                await turn.pause()
        if source.is_complete:
            break
        chunk = await source.receive()
    if decoder is not None and not decoder.is_complete:
        raise BadRequest("the compressed body is incomplete")
