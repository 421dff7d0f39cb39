"""The body of an HTTP request, read as a whole or as a stream of pieces.

A body is decompressed while it is received. Its time limit counts only the time in which the server waits for the
client, and not the time in which it processes the body. The size limit of a whole body applies to the body as sent and
to the decoded body.

A stream may be endless. Its decoded body may have up to `MAX_RATIO` times the received bytes. Without this limit, the
server could work for days on a few kilobytes. While the server works, it can check whether the client has disconnected.

A zstd decoder keeps the last 8 MiB that it has decoded, and 400 bytes can decode to 8 MiB. A stream therefore reserves
the memory of its decoder.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from io import BytesIO

from starlette.requests import ClientDisconnect, Request

from graphql_api.budgets.budgets import SubmitterBudget
from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES, Reservation
from graphql_api.errors import RequestTimeout, UnsupportedMediaType
from graphql_api.graphql_server.requests.body_decoder import decoded_pieces, decoder_of
from graphql_api.graphql_server.requests.request_headers import header
from graphql_api.graphql_server.settings import MIB, GraphQLSettings
from graphql_api.graphql_server.tcp_state import has_lost_client
from storage.documents.errors import BadRequest, TooLarge, Unavailable

_DEFAULTS = GraphQLSettings()
_MIN_PACED_BYTES = 32 * 1024
"""After a chunk of this size, the next one of an uncompressed body is received in a later turn."""
_MAX_GROWTH = 8
"""The memory of a body, as a multiple of its received bytes. Clients can declare more bytes than they send."""
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
"""The first bytes of compressed data. JSON in UTF-8 never starts with these bytes."""

MAX_RATIO = 200
"""Decoded bytes for each received byte of a stream. Samples with random numbers have a ratio of 3 to 10."""

MIN_RATIO_BYTES = 64 * MIB
"""The ratio is checked only above this number of decoded bytes, because a body of equal samples has a high ratio."""


def any_turn() -> LoopTurn:
    """Return a turn for work that does not wait for other work."""
    return LoopTurns().of("")


class _IncomingBody:
    """The body as sent, limited in size and time.

    The time budget starts with the grace period. Waiting for the client reduces the budget, and each received byte adds
    the time that it takes at the minimum rate. The budget never exceeds the grace period.
    """

    def __init__(self, request: Request, max_bytes: int | None, settings: GraphQLSettings) -> None:
        self.declared_bytes = int(header(request, b"content-length") or 0)
        if max_bytes is not None and self.declared_bytes > max_bytes:
            raise TooLarge(f"expected a body of at most {max_bytes:,} bytes, got {self.declared_bytes:,} bytes")
        encoding = header(request, b"content-encoding")
        self.decoder = decoder_of(encoding) if encoding else None
        self.is_complete = False
        self.received_bytes = 0
        self._request = request
        self._max_bytes = max_bytes
        self._rate = settings.min_body_bytes_per_second
        self._max_wait_seconds = self._wait_seconds = settings.body_grace_seconds

    async def receive_start(self) -> bytes:
        """Wait for the first chunk and return it.

        Raises `UnsupportedMediaType` if the chunk is compressed, but the header Content-Encoding does not say so.
        """
        chunk = await self.receive()
        for name, magic in _MAGIC.items():
            if self.decoder is None and chunk.startswith(magic):
                raise UnsupportedMediaType(
                    f"the body is compressed with {name}; send the header content-encoding: {name}"
                )
        return chunk

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

    async def decoded(self, chunk: bytes, turn: LoopTurn, check: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
        """Yield the decoded pieces of the body, whose first chunk is `chunk`.

        `check` gets the number of decoded bytes, and may raise an error.
        """
        decoded_bytes = 0
        while True:
            if self.decoder is None and chunk:
                yield chunk
                if len(chunk) >= _MIN_PACED_BYTES and not self.is_complete:
                    # Otherwise, hundreds of uploads would be received in one iteration of the event loop.
                    await turn.start()
            elif self.decoder is not None:
                await turn.start()
                for piece in decoded_pieces(self.decoder, chunk):
                    self.check_client()
                    decoded_bytes += len(piece)
                    check(decoded_bytes)
                    if piece:
                        yield piece
                    await turn.pause()
            if self.is_complete:
                break
            chunk = await self.receive()
        if self.decoder is not None and not self.decoder.is_complete:
            raise BadRequest("the compressed body is incomplete")


async def read_body(
    request: Request,
    max_bytes: int,
    settings: GraphQLSettings = _DEFAULTS,
    *,
    reserve: Callable[[], Reservation] | None = None,
    budget: SubmitterBudget | None = None,
) -> bytes:
    """Return the whole decoded body.

    If the body is large or compressed, the reservation that `reserve` returns grows to the size of the body. The caller
    releases the reservation. The `budget` of the sender grants the turns in which such a body is received on the event
    loop. It limits the number of bodies over `MIN_RESERVED_BYTES` that are received at the same time.

    Raises `TooLarge` as soon as the body is known to exceed `max_bytes`, and `RequestTimeout` if it arrives too slowly.
    Raises `UnsupportedMediaType` if the content encoding is wrong, and `BadRequest` if the body cannot be decoded.
    Raises `Unavailable` if the memory budget or the memory is exhausted, and `RateLimited` if the share of the
    submitter or its budget of uploads is exhausted.
    """
    body = _IncomingBody(request, max_bytes, settings)
    start = await body.receive_start()
    if body.is_complete and body.decoder is None:
        return start

    def check(decoded_bytes: int) -> None:
        if decoded_bytes > max_bytes:
            raise TooLarge(f"expected a body of at most {max_bytes:,} bytes after decompression, got more")

    reservation = None if reserve is None else reserve()
    # `getvalue` returns the bytes of the buffer without a copy. The body is therefore in memory only once.
    buffer, capacity = BytesIO(), 0
    turn = any_turn() if budget is None else budget.turn()
    with ExitStack() as held:
        try:
            async with aclosing(body.decoded(start, turn, check)) as pieces:
                async for piece in pieces:
                    size = buffer.tell() + len(piece)
                    if reservation is not None:
                        reservation.resize(size)
                    if budget is not None and buffer.tell() <= MIN_RESERVED_BYTES < size:
                        held.enter_context(budget.uploads.hold())
                    if body.decoder is None and capacity < size < body.declared_bytes:
                        capacity = min(body.declared_bytes, _MAX_GROWTH * size)
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


class BodyStream:
    """An iterator over the pieces of a decoded body, which may be endless. A piece has at most a few MiB.

    `reservation` holds the memory of the decoder until the stream is closed.
    """

    def __init__(self, request: Request, turn: LoopTurn, reservation: Reservation) -> None:
        """Raise errors in the headers at once, so that the response can have the status of the error.

        The iterator raises all other errors while it reads the body; see `read_body`.
        """
        self._body = _IncomingBody(request, None, _DEFAULTS)
        self._pieces = _stream(self._body, turn, reservation)

    @property
    def received_bytes(self) -> int:
        """The number of bytes received from the client, before they are decoded."""
        return self._body.received_bytes

    def check_client(self) -> None:
        """Raise `ClientDisconnect` if the client has disconnected."""
        self._body.check_client()

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._pieces

    async def aclose(self) -> None:
        """Stop reading."""
        await self._pieces.aclose()


async def _stream(body: _IncomingBody, turn: LoopTurn, reservation: Reservation) -> AsyncGenerator[bytes, None]:
    def check(decoded_bytes: int) -> None:
        if decoded_bytes > MIN_RATIO_BYTES + MAX_RATIO * body.received_bytes:
            raise TooLarge(
                f"expected a body that decompresses to at most {MIN_RATIO_BYTES // MIB} MiB plus {MAX_RATIO} times its "
                "compressed size, got more; send it in several requests"
            )
        size = 0 if body.decoder is None else min(body.decoder.memory_bytes, decoded_bytes)
        reservation.resize(size if size > MIN_RESERVED_BYTES else 0)

    with reservation:
        async with aclosing(body.decoded(await body.receive_start(), turn, check)) as pieces:
            async for piece in pieces:
                yield piece
