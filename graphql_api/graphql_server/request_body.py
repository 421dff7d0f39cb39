"""Request bodies, bounded before they are read, decoded while they are read.

The limit holds for what is sent and for what it decodes to. Traps: a frame of zstd repeats a block of
128 KiB for every four bytes, so it is fed in small cuts; gzip allows several members in a row; and a
client is timed only while we wait for it, never while the consumer of the stream is busy.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from io import BytesIO
from typing import Protocol

import zstandard
from starlette.requests import ClientDisconnect, Request

from graphql_api.errors import RequestTimeout, UnsupportedMediaType
from graphql_api.graphql_server.headers import header
from graphql_api.graphql_server.memory_budget import Capacity
from graphql_api.graphql_server.settings import TransportSettings
from storage.documents.errors import BadRequest, TooLarge

OUTPUT_BYTES = 256 * 1024
ZSTANDARD_CUT = 512
DEFAULTS = TransportSettings()
ZSTANDARD_WINDOW = 8 * 1024 * 1024  # what RFC 9659 allows on the web


async def read_body(
    request: Request, limit: int, settings: TransportSettings = DEFAULTS, capacity: Capacity | None = None
) -> bytes:
    """Read the whole body, decoded, or refuse it as soon as it is known to exceed `limit` bytes.

    What it takes while it is read is held of `capacity`. Raises `Unavailable` where that is used up.
    """
    source = _Source(request, limit, settings)
    decoder = _decoder(request)
    first = await source.receive()
    if source.ended and decoder is None:
        return first
    # The buffer hands out its bytes without a copy, so a body is in memory once.
    buffer = BytesIO()
    with (capacity or Capacity(limit)).share() as share:
        async with aclosing(_decode(source, decoder, first, limit)) as pieces:
            async for piece in pieces:
                share.hold(buffer.tell() + len(piece))
                buffer.write(piece)
        return buffer.getvalue()


def stream_body(
    request: Request, limit: int | None = None, settings: TransportSettings = DEFAULTS
) -> AsyncGenerator[bytes, None]:
    """Return the body, decoded, in chunks of at most a few hundred KiB; without a limit it may be endless.

    What its headers say is refused here and now, so that it can be answered with a status.
    """
    return _stream(_Source(request, limit, settings), _decoder(request), limit)


async def _stream(source: "_Source", decoder: "_Decoder | None", limit: int | None) -> AsyncGenerator[bytes, None]:
    async with aclosing(_decode(source, decoder, await source.receive(), limit)) as pieces:
        async for piece in pieces:
            yield piece


class _Source:
    """The body as it is sent: within the limit, and not too slowly."""

    def __init__(self, request: Request, limit: int | None, settings: TransportSettings) -> None:
        declared = header(request, b"content-length")
        if limit is not None and declared and int(declared) > limit:
            raise TooLarge(f"The body has {int(declared)} bytes; at most {limit} are taken.")
        self.ended = False
        self._request = request
        self._limit = limit
        self._rate = settings.body_bytes_per_second
        self._grace = self._patience = settings.body_grace_seconds
        self._received = 0

    async def receive(self) -> bytes:
        """Wait for the next chunk; it may be empty."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        try:
            async with asyncio.timeout_at(asked + self._patience):
                message = await self._request.receive()
        except TimeoutError:
            raise RequestTimeout("The body came too slowly.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self.ended = not message.get("more_body", False)
        self._received += len(chunk)
        if self._limit is not None and self._received > self._limit:
            raise TooLarge(f"The body is longer than the {self._limit} bytes that are taken.")
        self._patience += len(chunk) / self._rate - (loop.time() - asked)
        self._patience = min(self._patience, self._grace)
        return chunk


async def _decode(
    source: _Source, decoder: "_Decoder | None", chunk: bytes, limit: int | None
) -> AsyncGenerator[bytes, None]:
    decoded = 0
    while True:
        if decoder is None and chunk:
            yield chunk
        elif decoder is not None:
            for piece in decoder.decode(chunk):
                decoded += len(piece)
                if limit is not None and decoded > limit:
                    raise TooLarge(f"The body decodes to more than the {limit} bytes that are taken.")
                yield piece
                await asyncio.sleep(0)  # others have their turn while a bomb is measured
        if source.ended:
            break
        chunk = await source.receive()
    if decoder is not None and not decoder.complete:
        raise BadRequest("The compressed body ends before its end.")


class _Decoder(Protocol):
    @property
    def complete(self) -> bool:
        """Whether everything that was begun has ended."""

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Decode a chunk in pieces of bounded size."""


def _decoder(request: Request) -> _Decoder | None:
    match header(request, b"content-encoding").strip().lower():
        case b"" | b"identity":
            return None
        case b"gzip" | b"x-gzip":
            return _Gzip()
        case b"zstd":
            return _Zstandard()
        case _:
            raise UnsupportedMediaType("The body may be encoded once, as gzip or zstd, or not at all.")


class _Gzip:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._begun = False

    @property
    def complete(self) -> bool:
        return self._begun and self._member.eof

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        self._begun = True
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            try:
                piece = self._member.decompress(chunk, OUTPUT_BYTES)
            except zlib.error:
                raise BadRequest("The body is not valid gzip.") from None
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece


class _Zstandard:
    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTANDARD_WINDOW)
        self._frame = self._decompressor.decompressobj()
        self._begun = False

    @property
    def complete(self) -> bool:
        return self._begun and self._frame.eof

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        self._begun = True
        pieces: list[bytes] = []
        size = 0
        for start in range(0, len(chunk), ZSTANDARD_CUT):
            cut = chunk[start : start + ZSTANDARD_CUT]
            while cut:
                if self._frame.eof:
                    self._frame = self._decompressor.decompressobj()
                try:
                    piece = self._frame.decompress(cut)
                except zstandard.ZstdError:
                    raise BadRequest("The body is not valid zstd.") from None
                cut = self._frame.unused_data if self._frame.eof else b""
                pieces.append(piece)
                size += len(piece)
            if size >= OUTPUT_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
        if size:
            yield b"".join(pieces)
