"""Resource paths as bytes that sort in Firestore's order.

Paths sort segment by segment, not as strings: `a/b` comes before `a-/b`. A segment is a tag, its UTF-8 and an
end mark that no text contains. Encoded paths therefore compare byte by byte, and a path is a prefix of every
path below it. Numeric ids (`__id7__`) sort before all other ids.

NUL in a text is escaped, because cursors of recursive deletes contain it. The end mark sorts before the escape.
"""

import re
from functools import lru_cache

MAX_CACHED_PARENTS = 1024  # most documents of a request share their parent

NUMERIC_TAG = b"\x01"
AFTER_ALL = b"\xff"
"""Sorts after every encoded segment and every encoded value."""

_TEXT_TAG = b"\x02"
_TEXT_END = b"\x00\x01"
_ESCAPED_NUL = b"\x00\xff"

_numeric_id = re.compile(r"__id(-?\d{1,19})__")


def encode_text(text: str) -> bytes:
    """Return bytes that sort like the UTF-8 of `text`. They are not a prefix of the bytes of another text."""
    return encode_bytes(text.encode())


def encode_bytes(raw: bytes) -> bytes:
    """Return bytes that sort like `raw`. They are not a prefix of the encoding of other bytes."""
    return raw.replace(b"\0", _ESCAPED_NUL) + _TEXT_END


def is_numeric_id(segment: str) -> bool:
    """Return whether an id is of the form `__id7__`."""
    return _numeric_id.fullmatch(segment) is not None


def encode_segment(segment: str) -> bytes:
    """Return the bytes of one segment."""
    if segment.startswith("__id"):
        numeric = _numeric_id.fullmatch(segment)
        if numeric and -(1 << 63) <= (number := int(numeric[1])) < 1 << 63:
            return NUMERIC_TAG + (number + (1 << 63)).to_bytes(8, "big")
    return _TEXT_TAG + encode_text(segment)


def encode_path(segments: tuple[str, ...]) -> bytes:
    """Return the bytes of a path: the bytes of its segments, concatenated."""
    return _encode_parent(segments[:-1]) + encode_segment(segments[-1]) if segments else b""


@lru_cache(maxsize=MAX_CACHED_PARENTS)
def _encode_parent(segments: tuple[str, ...]) -> bytes:
    return b"".join(map(encode_segment, segments))


def decode_path(encoded: bytes) -> tuple[str, ...]:
    """Return the segments of an encoded path."""
    segments = []
    start = 0
    while start < len(encoded):
        if encoded[start : start + 1] == NUMERIC_TAG:
            number = int.from_bytes(encoded[start + 1 : start + 9], "big") - (1 << 63)
            segments.append(f"__id{number}__")
            start += 9
        else:
            end = encoded.index(_TEXT_END, start)
            segments.append(encoded[start + 1 : end].replace(_ESCAPED_NUL, b"\0").decode())
            start = end + len(_TEXT_END)
    return tuple(segments)
