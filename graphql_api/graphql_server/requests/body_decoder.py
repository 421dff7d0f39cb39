"""Decoders of compressed request bodies, for gzip and zstd.

A decoder gets its input in small pieces, because a large piece could take too long. Four bytes of a zstd frame can
decode to a block of 128 KiB. A gzip body can have a member every 20 bytes, and zlib copies the rest of its input after
each member.
"""

import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from graphql_api.errors import UnsupportedMediaType
from graphql_api.graphql_server.settings import KIB, MIB
from storage.documents.errors import BadRequest

_OUTPUT_BYTES = 256 * KIB
_INPUT_BYTES = 16 * KIB  # the input for one piece of output
_MAX_ZSTD_WINDOW_BYTES = 8 * MIB  # RFC 9659
_GZIP_BYTES = 40 * KIB  # the window of zlib and its tables


class Decoder(Protocol):
    """Decodes one body."""

    input_bytes: int
    """The number of bytes that `decode` gets at a time."""

    @property
    def is_complete(self) -> bool:
        """Whether the last member or frame has ended."""

    @property
    def memory_bytes(self) -> int:
        """The memory of the decoder. It uses at most as much of this memory as it has decoded."""

    def decode(self, part: bytes) -> Iterator[bytes]:
        """Yield the decoded part in pieces of limited size. Raises `BadRequest`."""


def decoder_of(content_encoding: bytes) -> Decoder | None:
    """Return the decoder for a content encoding, or None if it needs none. Raises `UnsupportedMediaType`."""
    match content_encoding.strip().lower():
        case b"" | b"identity":
            return None
        case b"gzip" | b"x-gzip":
            return GzipDecoder()
        case b"zstd":
            return ZstdDecoder()
        case _:
            raise UnsupportedMediaType("expected the header Content-Encoding to be gzip, zstd or identity")


def decoded_pieces(decoder: Decoder, chunk: bytes) -> Iterator[bytes]:
    """Yield the decoded chunk in pieces. A piece ends after a limited amount of input or output, and can be empty."""
    decoded: list[bytes] = []
    output_bytes = input_bytes = 0
    for start in range(0, len(chunk), decoder.input_bytes):
        part = chunk[start : start + decoder.input_bytes]
        input_bytes += len(part)
        for piece in decoder.decode(part):
            decoded.append(piece)
            output_bytes += len(piece)
            if output_bytes >= _OUTPUT_BYTES or input_bytes >= _INPUT_BYTES:
                yield b"".join(decoded)
                decoded, output_bytes, input_bytes = [], 0, 0
    yield b"".join(decoded)


class GzipDecoder:
    """Decodes the members of a gzip body."""

    input_bytes = 4 * KIB
    memory_bytes = _GZIP_BYTES

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._has_begun = False

    @property
    def is_complete(self) -> bool:
        return self._has_begun and self._member.eof

    def decode(self, part: bytes) -> Iterator[bytes]:
        self._has_begun = True
        while part:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            try:
                piece = self._member.decompress(part, _OUTPUT_BYTES)
            except zlib.error:
                raise BadRequest("the body is not valid gzip data, but the header Content-Encoding is gzip") from None
            part = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            yield piece


class ZstdDecoder:
    """Decodes the frames of a zstd body."""

    input_bytes = 64  # 64 bytes can decode to 2 MiB

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)
        self._frame = self._decompressor.decompressobj()
        self._has_begun = False

    @property
    def is_complete(self) -> bool:
        return self._has_begun and self._frame.eof

    @property
    def memory_bytes(self) -> int:
        return int(self._decompressor.memory_size())

    def decode(self, part: bytes) -> Iterator[bytes]:
        self._has_begun = True
        while part:
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            try:
                piece = self._frame.decompress(part)
            except zstandard.ZstdError:
                raise BadRequest(
                    f"the body is not valid zstd data with a window of at most {_MAX_ZSTD_WINDOW_BYTES // MIB} MiB, "
                    "but the header Content-Encoding is zstd"
                ) from None
            part = self._frame.unused_data if self._frame.eof else b""
            yield piece
