"""Decompression of files. The first bytes of a file show its compression."""

import gzip
import io
import zlib
from typing import Protocol

import zstandard

READ_BYTES = 1024 * 1024
"""The maximum number of bytes of one read."""

DECOMPRESSION_ERRORS = (EOFError, zlib.error, zstandard.ZstdError)
"""What a damaged or truncated file raises, besides `OSError`."""

_GZIP_MAGIC, _ZSTANDARD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Reader(Protocol):
    """A file that returns bytes as soon as they are available."""

    def read1(self, size: int = -1, /) -> bytes:
        """Return available bytes, at most `size`. Return no bytes at the end."""


def decompressed(file: io.BufferedReader) -> Reader:
    """Return a reader of the decompressed bytes."""
    head = file.peek(4)
    if head.startswith(_GZIP_MAGIC):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(_ZSTANDARD_MAGIC):
        return io.BufferedReader(_ZstandardReader(file), READ_BYTES)
    return file


class _ZstandardReader(io.RawIOBase):
    """Decompresses consecutive frames. Unlike the reader of the library, it detects a truncated frame."""

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._buffer = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]  # the caller passes bytes
        while not self._buffer:
            if self._frame.eof:
                chunk = self._frame.unused_data or self._source.read1(READ_BYTES // 16)
                if not chunk:
                    return 0
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            else:
                chunk = self._source.read1(READ_BYTES // 16)
                if not chunk:
                    raise EOFError("the compressed file is truncated")
            self._buffer = self._frame.decompress(chunk)
        size = min(len(buffer), len(self._buffer))
        buffer[:size] = self._buffer[:size]
        self._buffer = self._buffer[size:]
        return size
