"""Request bodies, bounded before they are read, decoded while they are read.

The limit holds for what is sent and for what it decodes to. Traps: a frame of zstd repeats a block of
128 KiB for every four bytes, so it is fed in small cuts; gzip allows several members in a row; and a
client is timed only while we wait for it, never while the consumer of the stream is busy.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from io import BytesIO
from typing import Protocol

import zstandard
from starlette.requests import ClientDisconnect, Request

from documents.errors import BadRequest, TooLarge
from graphql_api.errors import RequestTimeout, UnsupportedMediaType
from graphql_api.transport.settings import TransportSettings

OUTPUT_BYTES = 256 * 1024
ZSTANDARD_CUT = 512
DEFAULTS = TransportSettings()
ZSTANDARD_WINDOW = 8 * 1024 * 1024  # what RFC 9659 allows on the web


async def read_body(request: Request, limit: int, settings: TransportSettings = DEFAULTS) -> bytes:
    """Read the whole body, decoded, or refuse it as soon as it is known to exceed `limit` bytes."""
    # The buffer hands out its bytes without a copy, so a body is in memory once.
    buffer = BytesIO()
    async with aclosing(stream_body(request, limit, settings)) as chunks:
        async for chunk in chunks:
            buffer.write(chunk)
    return buffer.getvalue()


async def stream_body(
    request: Request, limit: int | None = None, settings: TransportSettings = DEFAULTS
) -> AsyncGenerator[bytes, None]:
    """Yield the body, decoded, in chunks of at most a few hundred KiB; without a limit it may be endless."""
    decoder = _decoder(request)
    declared = request.headers.get("content-length", "0")
    if limit is not None and int(declared) > limit:
        raise TooLarge(f"The body has {declared} bytes; at most {limit} are taken.")
    received = decoded = 0
    async for chunk in _receive(request, settings):
        received += len(chunk)
        if limit is not None and received > limit:
            raise TooLarge(f"The body is longer than the {limit} bytes that are taken.")
        if decoder is None:
            yield chunk
            continue
        for piece in decoder.decode(chunk):
            decoded += len(piece)
            if limit is not None and decoded > limit:
                raise TooLarge(f"The body decodes to more than the {limit} bytes that are taken.")
            yield piece
            await asyncio.sleep(0)  # others have their turn while a bomb is measured
    if decoder is not None and not decoder.complete:
        raise BadRequest("The compressed body ends before its end.")


async def _receive(request: Request, settings: TransportSettings) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    patience = settings.body_grace_seconds
    more_body = True
    while more_body:
        asked = loop.time()
        try:
            async with asyncio.timeout_at(asked + patience):
                message = await request.receive()
        except TimeoutError:
            raise RequestTimeout("The body came too slowly.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body: bytes = message.get("body", b"")
        more_body = message.get("more_body", False)
        earned = len(body) / settings.body_bytes_per_second
        patience = min(settings.body_grace_seconds, patience - (loop.time() - asked) + earned)
        if body:
            yield body


class _Decoder(Protocol):
    @property
    def complete(self) -> bool:
        """Whether everything that was begun has ended."""

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Decode a chunk in pieces of bounded size."""


def _decoder(request: Request) -> _Decoder | None:
    encodings = ",".join(request.headers.getlist("content-encoding")).lower().replace(" ", "")
    match encodings:
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Gzip()
        case "zstd":
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
