"""Resource paths as bytes that sort in Firestore's order.

Paths sort segment by segment, not as strings: `a/b` comes before `a-/b`. An encoded segment consists of a tag,
the UTF-8 of the segment and an end mark, which cannot occur inside the text. Encoded paths therefore compare byte by
byte, and the encoding of a path is a prefix of the encodings of all its descendants. Numeric ids (`__id7__`) sort
before all other ids.

The encoding escapes NUL, because cursors of recursive deletes contain NUL. The end mark sorts before the escape.
"""

import re
from functools import lru_cache

MAX_CACHED_PARENTS = 1024  # most documents of a request have the same parent

NUMERIC_TAG = b"\x01"
AFTER_ALL = b"\xff"
"""Sorts after every encoded segment and every encoded value."""

_TEXT_TAG = b"\x02"
TEXT_END = b"\x00\x01"
_MIN_NUMBER, _MAX_NUMBER = -(1 << 63), (1 << 63) - 1
_ESCAPED_NUL = b"\x00\xff"

_numeric_id = re.compile(r"__id(0|-?[1-9][0-9]{0,18})__")  # one text for each number, so that paths are unambiguous


def encode_text(text: str) -> bytes:
    """Return bytes that sort like the UTF-8 of `text`. No encoding is a prefix of another encoding."""
    return encode_bytes(text.encode())


def encode_bytes(raw: bytes) -> bytes:
    """Return bytes that sort like `raw`. No encoding is a prefix of another encoding."""
    return raw.replace(b"\0", _ESCAPED_NUL) + TEXT_END


def end_of_text(encoded: bytes, start: int) -> int:
    """Return the position after the encoded text that starts at `start`."""
    return encoded.index(TEXT_END, start) + len(TEXT_END)


def decode_text(encoded: bytes) -> str:
    """Reverse `encode_text`."""
    return encoded.removesuffix(TEXT_END).replace(_ESCAPED_NUL, b"\0").decode()


def is_numeric_id(segment: str) -> bool:
    """Return whether an id has the form `__id7__`, with a number of 64 bits that is not zero."""
    numeric = _numeric_id.fullmatch(segment)
    return numeric is not None and int(numeric[1]) != 0 and _MIN_NUMBER <= int(numeric[1]) <= _MAX_NUMBER


def encode_segment(segment: str) -> bytes:
    """Return the encoding of one segment."""
    if segment.startswith("__id"):
        numeric = _numeric_id.fullmatch(segment)
        if numeric and _MIN_NUMBER <= (number := int(numeric[1])) <= _MAX_NUMBER:
            return NUMERIC_TAG + (number - _MIN_NUMBER).to_bytes(8, "big")
    return _TEXT_TAG + encode_text(segment)


def encode_path(segments: tuple[str, ...]) -> bytes:
    """Return the encoding of a path: the concatenated encodings of its segments."""
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
            number = int.from_bytes(encoded[start + 1 : start + 9], "big") + _MIN_NUMBER
            segments.append(f"__id{number}__")
            start += 9
        else:
            end = encoded.index(TEXT_END, start)
            segments.append(encoded[start + 1 : end].replace(_ESCAPED_NUL, b"\0").decode())
            start = end + len(TEXT_END)
    return tuple(segments)
