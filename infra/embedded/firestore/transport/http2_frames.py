"""Finds the frames in one direction of an HTTP/2 connection (RFC 9113, section 4.1).

The payloads are not decoded, except the settings with which a server starts.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

DATA, HEADERS, RST_STREAM, SETTINGS, CONTINUATION = 0, 1, 3, 4, 9
END_STREAM = 0x1
PREFACE_BYTES = 24
"""What a client sends before its first frame."""

_HEADER_BYTES = 9
_SETTING = struct.Struct("!HI")
_MAX_CONCURRENT_STREAMS = 3


class Frame(NamedTuple):
    """The header of a frame."""

    start: int
    """Where the frame starts in the chunk. 0 if it starts in an earlier chunk."""
    payload_bytes: int
    kind: int
    flags: int
    stream: int


class FrameScanner:
    """Keeps its position between the chunks of one direction."""

    def __init__(self, skipped_bytes: int = 0) -> None:
        self._skipped_bytes = skipped_bytes
        """How many bytes come before the next frame."""
        self._partial = b""
        """The first bytes of a header that continues in the next chunk."""

    def frames(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the frames whose header ends in the next chunk."""
        position, end = self._skipped_bytes - len(self._partial), len(chunk)
        data, shift = (self._partial + chunk, len(self._partial)) if self._partial else (chunk, 0)
        while (at := position + shift) + _HEADER_BYTES <= end + shift:
            payload_bytes = int.from_bytes(data[at : at + 3])
            stream = int.from_bytes(data[at + 5 : at + 9]) & 0x7FFF_FFFF
            yield Frame(max(position, 0), payload_bytes, data[at + 3], data[at + 4], stream)
            position += _HEADER_BYTES + payload_bytes
        self._skipped_bytes = max(position - end, 0)
        self._partial = data[position + shift :]


def with_max_streams(chunk: bytes, count: int) -> bytes:
    """Return the first chunk of a server, whose first frame has the settings, with another maximum of open streams.

    A chunk without a whole frame of settings is returned unchanged. See RFC 9113, sections 3.4 and 6.5.2.
    """
    frame = next(FrameScanner().frames(chunk), None)
    if frame is None or frame.kind != SETTINGS or frame.payload_bytes % _SETTING.size:
        return chunk
    end = _HEADER_BYTES + frame.payload_bytes
    if end > len(chunk):
        return chunk
    settings = dict(_SETTING.iter_unpack(chunk[_HEADER_BYTES:end])) | {_MAX_CONCURRENT_STREAMS: count}
    payload = b"".join(_SETTING.pack(*setting) for setting in settings.items())
    return len(payload).to_bytes(3) + chunk[3:_HEADER_BYTES] + payload + chunk[end:]
