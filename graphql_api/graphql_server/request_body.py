"""Request bodies, decompressed while they are received, and limited in size and time.

The size limit applies to the body as sent and to the decoded body. Four bytes of a zstd frame can decode to a block of
128 KiB, so the decoder gets its input in small pieces. A gzip body may consist of several members. The time limit
counts only the time in which the server waits for the client, and not the time in which it processes the body.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from io import BytesIO
from typing import Protocol

import zstandard
from starlette.requests import ClientDisconnect, Request

from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.errors import RequestTimeout, UnsupportedMediaType
from graphql_api.graphql_server.request_headers import header
from graphql_api.graphql_server.settings import KIB, MIB, GraphQLSettings
from storage.documents.errors import BadRequest, TooLarge

_OUTPUT_BYTES = 256 * KIB
_ZSTD_INPUT_BYTES = 512
_MAX_ZSTD_WINDOW_BYTES = 8 * MIB  # RFC 9659
_DEFAULTS = GraphQLSettings()


async def read_body(
    request: Request,
    max_bytes: int,
    settings: GraphQLSettings = _DEFAULTS,
    memory_budget: MemoryBudget | None = None,
) -> bytes:
    """Return the whole decoded body.

    Raises `TooLarge` as soon as the body is known to exceed `max_bytes`, `RequestTimeout` if it arrives too slowly,
    `UnsupportedMediaType` if the content encoding is unknown, `BadRequest` if the body cannot be decoded, and
    `Unavailable` if the memory budget is exhausted.
    """
    source = _Source(request, max_bytes, settings)
    decoder = _decoder(request)
    first = await source.receive()
    if source.is_complete and decoder is None:
        return first
    # `getvalue` returns the bytes of the buffer without a copy. The body is therefore in memory only once.
    buffer = BytesIO()
    with (memory_budget or MemoryBudget(max_bytes)).reserve() as reservation:
        async with aclosing(_decode(source, decoder, first, max_bytes)) as pieces:
            async for piece in pieces:
                reservation.resize(buffer.tell() + len(piece))
                buffer.write(piece)
        return buffer.getvalue()


def stream_body(
    request: Request, max_bytes: int | None = None, settings: GraphQLSettings = _DEFAULTS
) -> AsyncGenerator[bytes, None]:
    """Return the decoded body in pieces of at most a few hundred KiB. Without `max_bytes`, the body may be endless.

    This function raises errors in the headers at once, so that the response can have the status of the error. The
    iterator raises all other errors while it reads the body; see `read_body`.
    """
    return _stream(_Source(request, max_bytes, settings), _decoder(request), max_bytes)


async def _stream(source: "_Source", decoder: "_Decoder | None", max_bytes: int | None) -> AsyncGenerator[bytes, None]:
    async with aclosing(_decode(source, decoder, await source.receive(), max_bytes)) as pieces:
        async for piece in pieces:
            yield piece


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
        self._request = request
        self._max_bytes = max_bytes
        self._rate = settings.min_body_bytes_per_second
        self._max_wait_seconds = self._wait_seconds = settings.body_grace_seconds
        self._received_bytes = 0

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
        self._received_bytes += len(chunk)
        if self._max_bytes is not None and self._received_bytes > self._max_bytes:
            raise TooLarge(f"expected a body of at most {self._max_bytes:,} bytes, got more")
        self._wait_seconds += len(chunk) / self._rate - (loop.time() - began)
        self._wait_seconds = min(self._wait_seconds, self._max_wait_seconds)
        return chunk


async def _decode(
    source: _Source, decoder: "_Decoder | None", chunk: bytes, max_bytes: int | None
) -> AsyncGenerator[bytes, None]:
    decoded_bytes = 0
    while True:
        if decoder is None and chunk:
            yield chunk
        elif decoder is not None:
            for piece in decoder.decode(chunk):
                decoded_bytes += len(piece)
                if max_bytes is not None and decoded_bytes > max_bytes:
                    raise TooLarge(f"expected a body of at most {max_bytes:,} bytes after decompression, got more")
                yield piece
                await asyncio.sleep(0)  # let other tasks run: a small body can decode to very many pieces
        if source.is_complete:
            break
        chunk = await source.receive()
    if decoder is not None and not decoder.is_complete:
        raise BadRequest("the compressed body is incomplete")


class _Decoder(Protocol):
    @property
    def is_complete(self) -> bool:
        """Whether the last member or frame has ended."""

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decoded chunk in pieces of limited size. Raises `BadRequest`."""


def _decoder(request: Request) -> _Decoder | None:
    match header(request, b"content-encoding").strip().lower():
        case b"" | b"identity":
            return None
        case b"gzip" | b"x-gzip":
            return _Gzip()
        case b"zstd":
            return _Zstd()
        case _:
            raise UnsupportedMediaType("expected the header Content-Encoding to be gzip, zstd or identity")


class _Gzip:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._has_begun = False

    @property
    def is_complete(self) -> bool:
        return self._has_begun and self._member.eof

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        self._has_begun = True
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            try:
                piece = self._member.decompress(chunk, _OUTPUT_BYTES)
            except zlib.error:
                raise BadRequest("the body is not valid gzip data, but the header Content-Encoding is gzip") from None
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece


class _Zstd:
    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)
        self._frame = self._decompressor.decompressobj()
        self._has_begun = False

    @property
    def is_complete(self) -> bool:
        return self._has_begun and self._frame.eof

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        self._has_begun = True
        pieces: list[bytes] = []
        size = 0
        for start in range(0, len(chunk), _ZSTD_INPUT_BYTES):
            part = chunk[start : start + _ZSTD_INPUT_BYTES]
            while part:
                if self._frame.eof:
                    self._frame = self._decompressor.decompressobj()
                try:
                    piece = self._frame.decompress(part)
                except zstandard.ZstdError:
                    raise BadRequest(
                        "the body is not valid zstd data, but the header Content-Encoding is zstd"
                    ) from None
                part = self._frame.unused_data if self._frame.eof else b""
                pieces.append(piece)
                size += len(piece)
            if size >= _OUTPUT_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
        if size:
            yield b"".join(pieces)
