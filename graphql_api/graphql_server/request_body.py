"""Request bodies, decompressed while they are received, and limited in size and time.

The size limit applies to the body as sent and to the decoded body.

A streamed body may be endless. It may decode to `MAX_RATIO` times the received bytes, because the server would
otherwise work for days on a few kilobytes. While it works, it can check whether the client has disconnected.

The time limit counts only the time in which the server waits for the client, and not the time in which it processes the
body.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from io import BytesIO

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.budgets.memory_budget import Reservation
from graphql_api.errors import RequestTimeout, UnsupportedMediaType
from graphql_api.graphql_server.body_decoder import Decoder, GzipDecoder, ZstdDecoder, decoded_pieces
from graphql_api.graphql_server.request_headers import header
from graphql_api.graphql_server.settings import MIB, GraphQLSettings
from storage.documents.errors import BadRequest, TooLarge, Unavailable

MAX_RATIO = 200
"""Decoded bytes for each received byte of a stream. Samples with random numbers have a ratio of 3 to 10."""

MIN_RATIO_BYTES = 64 * MIB
"""The ratio applies after this many decoded bytes, because a stream of equal samples has a high ratio."""

_DEFAULTS = GraphQLSettings()


def _any_turn() -> LoopTurn:
    return LoopTurns().of("")


async def read_body(
    request: Request,
    max_bytes: int,
    settings: GraphQLSettings = _DEFAULTS,
    *,
    reserve: Callable[[], Reservation] | None = None,
    turn: Callable[[], LoopTurn] = _any_turn,
) -> bytes:
    """Return the whole decoded body.

    If the body is large or compressed, the reservation that `reserve` returns grows to its size. The caller releases
    it. `turn` returns the turn in which a compressed body is decoded on the event loop.

    Raises `TooLarge` as soon as the body is known to exceed `max_bytes`, `RequestTimeout` if it arrives too slowly,
    `UnsupportedMediaType` if the content encoding is unknown, `BadRequest` if the body cannot be decoded,
    `Unavailable` if the memory budget or the memory is exhausted, and `RateLimited` if the share of the submitter is
    exhausted.
    """
    source = _Source(request, max_bytes, settings)
    decoder = _decoder_of(request)
    first = await source.receive()
    if source.is_complete and decoder is None:
        return first
    reservation = None if reserve is None else reserve()
    # `getvalue` returns the bytes of the buffer without a copy. The body is therefore in memory only once.
    with BytesIO() as buffer:
        try:
            async with aclosing(_decode(source, decoder, first, max_bytes, turn())) as pieces:
                async for piece in pieces:
                    if reservation is not None:
                        reservation.resize(buffer.tell() + len(piece))
                    buffer.write(piece)
        except MemoryError:
            raise Unavailable("the server has too little memory for this body; send it again later") from None
        return buffer.getvalue()


def stream_body(request: Request, settings: GraphQLSettings = _DEFAULTS, turn: LoopTurn | None = None) -> "BodyStream":
    """Return the decoded body, which may be endless, in pieces of at most a few MiB.

    This function raises errors in the headers at once, so that the response can have the status of the error. The
    iterator raises all other errors while it reads the body; see `read_body`.
    """
    return BodyStream(_Source(request, None, settings), _decoder_of(request), turn or _any_turn())


class BodyStream:
    """An iterator over the pieces of a decoded body."""

    def __init__(self, source: "_Source", decoder: Decoder | None, turn: LoopTurn) -> None:
        self._source = source
        self._pieces = _stream(source, decoder, turn)

    @property
    def received_bytes(self) -> int:
        """The number of bytes received from the client, before they are decoded."""
        return self._source.received_bytes

    def check_client(self) -> None:
        """Raise `ClientDisconnect` if the client has disconnected."""
        self._source.check_client()

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._pieces

    async def aclose(self) -> None:
        """Stop reading."""
        await self._pieces.aclose()


async def _stream(source: "_Source", decoder: Decoder | None, turn: LoopTurn) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(_decode(source, decoder, await source.receive(), None, turn)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        source.close()


class _Source:
    """The body as sent, limited in size and time.

    The time budget starts with the grace period. Waiting for the client reduces the budget, and each received byte adds
    the time that it takes at the minimum rate. The budget never exceeds the grace period.
    """

    def __init__(self, request: Request, max_bytes: int | None, settings: GraphQLSettings) -> None:
        declared = header(request, b"content-length")
        if max_bytes is not None and declared and int(declared) > max_bytes:
            raise TooLarge(f"expected a body of at most {max_bytes:,} bytes, got {int(declared):,} bytes")
        self.is_complete = False
        self.received_bytes = 0
        self._request = request
        self._max_bytes = max_bytes
        self._rate = settings.min_body_bytes_per_second
        self._max_wait_seconds = self._wait_seconds = settings.body_grace_seconds
        self._next_message: asyncio.Future[Message] | None = None

    async def receive(self) -> bytes:
        """Wait for the next chunk and return it. A chunk may be empty."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        message_ahead, self._next_message = self._next_message, None
        try:
            async with asyncio.timeout_at(began + self._wait_seconds):
                message = await (message_ahead or self._request.receive())
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
        """Raise `ClientDisconnect` if the client has disconnected since the last chunk.

        The next message is received ahead for this. The server holds at most one more chunk for it.
        """
        if self._next_message is None:
            self._next_message = asyncio.ensure_future(self._request.receive())
        elif (
            self._next_message.done()
            and not self._next_message.cancelled()
            and self._next_message.result()["type"] == "http.disconnect"
        ):
            raise ClientDisconnect

    def close(self) -> None:
        """Stop waiting for the next message."""
        if self._next_message is not None:
            self._next_message.cancel()


async def _decode(
    source: _Source, decoder: Decoder | None, chunk: bytes, max_bytes: int | None, turn: LoopTurn
) -> AsyncGenerator[bytes, None]:
    decoded_bytes = 0
    while True:
        if decoder is None and chunk:
            yield chunk
        elif decoder is not None:
            await turn.start()
            for piece in decoded_pieces(decoder, chunk):
                decoded_bytes += len(piece)
                if max_bytes is None:
                    _check_ratio(decoded_bytes, source.received_bytes)
                elif decoded_bytes > max_bytes:
                    raise TooLarge(f"expected a body of at most {max_bytes:,} bytes after decompression, got more")
                if piece:
                    yield piece
                await turn.pause()
        if source.is_complete:
            break
        chunk = await source.receive()
    if decoder is not None and not decoder.is_complete:
        raise BadRequest("the compressed body is incomplete")


def _check_ratio(decoded_bytes: int, received_bytes: int) -> None:
    if decoded_bytes > MIN_RATIO_BYTES + MAX_RATIO * received_bytes:
        raise TooLarge(
            f"expected a body that decodes to at most {MAX_RATIO} times its size after the first "
            f"{MIN_RATIO_BYTES // MIB} MiB, got more; send it in several requests"
        )


def _decoder_of(request: Request) -> Decoder | None:
    """Return the decoder for the content encoding of a request, or None. Raises `UnsupportedMediaType`."""
    match header(request, b"content-encoding").strip().lower():
        case b"" | b"identity":
            return None
        case b"gzip" | b"x-gzip":
            return GzipDecoder()
        case b"zstd":
            return ZstdDecoder()
        case _:
            raise UnsupportedMediaType("expected the header Content-Encoding to be gzip, zstd or identity")
