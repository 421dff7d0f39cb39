"""Find where the values of a JSON text start and end, without decoding them.

Decoding a large text in one step would block the interpreter. This module scans the text in windows, with methods of
`bytes`. The time is proportional to the length of the text. This module does not check the syntax. If the text is not
JSON, the spans are arbitrary, and the caller gets an error when it decodes them.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from operator import indexOf

PIECE_BYTES = 64 * 1024
MAX_DEPTH = 64
"""The deepest nesting of lists and objects in a sample."""

_MAX_SKIPPED_BYTES = 512 * 1024  # longer than any number or whitespace; a longer match would block the interpreter
_MIN_WINDOW_BYTES = 256  # windows start small and grow, so that scanning a short value is cheap
_PAIR_ROUNDS = 4
_MAX_COMMAS = 32
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes({0x5B: 1, 0x7B: 1, 0x5D: 0xFF, 0x7D: 0xFF}.get(byte, 0) for byte in range(256))
_SPACE = re.compile(rb"[ \t\r\n]*+")
_COLON = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_COMMA = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+")
_SHORT_STRING = re.compile(rb'"(?:[^"\\]|\\.){0,100}+"', re.DOTALL)  # most strings; faster than windows
_SHORT_NESTED = re.compile(  # a short list or object, with at most one more level of lists and objects inside
    rb'[\[{](?:[^"\[\]{}]|"(?:[^"\\]|\\.){0,100}+"|[\[{][^"\[\]{}]{0,100}+[\]}]){0,100}+[\]}]', re.DOTALL
)
_PLAIN = re.compile(rb'[^"\[{\]}, \t\r\n:]*+')

Span = tuple[int, int]
"""The offset of the first byte, and the offset after the last byte."""


def skip_whitespace(raw: bytes) -> int:
    """Return the offset of the first byte that is not whitespace."""
    return _skip(_SPACE, raw, 0)


def members(raw: bytes, start: int) -> Iterator[tuple[Span, Span]]:
    """Yield the spans of the key and the value of each member of the object at `start`."""
    position = _skip(_SPACE, raw, start + 1)
    while position < len(raw) and raw[position] == 0x22:
        key = position, end_of_value(raw, position)
        start = _skip(_COLON, raw, key[1])
        end = end_of_value(raw, start)
        if start == key[1] or end == start:
            return
        yield key, (start, end)
        position = _skip(_COMMA, raw, end)
        if position == end:
            return


def values(raw: bytes, start: int, end: int) -> Iterator[Span]:
    """Yield the spans of the values inside a list, which is JSON."""
    position = _skip(_SPACE, raw, start)
    while position < end:
        span = position, end_of_value(raw, position)
        yield span
        position = _skip(_COMMA, raw, span[1])
        if position == span[1]:
            return


def end_of_value(raw: bytes, start: int) -> int:
    """Return the end of the value at `start`, or the end of the text if the value is not complete."""
    match raw[start : start + 1]:
        case b'"':
            return _end_of_string(raw, start)
        case b"[" | b"{":
            return _end_of_nested(raw, start)
    return _skip(_PLAIN, raw, start)


def pieces(raw: bytes, start: int, end: int) -> Iterator[Span]:
    """Split the contents of a list at commas between its values, into pieces of about `PIECE_BYTES`.

    A piece is longer only if it contains a longer value.
    """
    while end - start > PIECE_BYTES:
        comma = _last_comma(raw, start, end)
        if comma == end:
            break
        yield start, comma
        start = comma + 1
    yield start, end


def is_nested_within(raw: bytes, max_depth: int) -> bool:
    """Return whether lists and objects are nested at most `max_depth` deep."""
    if _has_at_most(raw, max_depth, b"[", b"{"):
        return True
    level = 0
    for _, window in without_strings(raw, 0, len(raw)):
        opened, closed = _brackets(window)
        if level + opened > max_depth:
            rest = _without_pairs(window)
            if level + _brackets(rest)[0] + _PAIR_ROUNDS > max_depth and max(_levels(window, level)) > max_depth:
                return False
        level += opened - closed
    return True


def _has_at_most(raw: bytes, max_count: int, *openings: bytes) -> bool:
    """Return whether `openings` occur at most `max_count` times.

    Most texts contain few brackets. For them, `bytes.find` is faster than `bytes.count`.
    """
    count = 0
    for opening in openings:
        position = raw.find(opening)
        while position >= 0:
            count += 1
            if count > max_count:
                return False
            position = raw.find(opening, position + 1)
    return True


def _end_of_string(raw: bytes, start: int) -> int:
    if short := _SHORT_STRING.match(raw, start):
        return short.end()
    for position, window in _without_escapes(raw, start + 1, len(raw)):
        quote = window.find(b'"')
        if quote >= 0:
            return position + quote + 1
    return len(raw)


def _end_of_nested(raw: bytes, start: int) -> int:
    if short := _SHORT_NESTED.match(raw, start):
        return short.end()
    level = 0
    for position, window in without_strings(raw, start, len(raw)):
        opened, closed = _brackets(window)
        if level <= closed and level <= _brackets(_without_pairs(window))[1]:
            try:
                return position + indexOf(_levels(window, level), 0) + 1
            except ValueError:
                pass
        level += opened - closed
    return len(raw)


def _last_comma(raw: bytes, start: int, end: int) -> int:
    """Return the offset of the last comma between values in the first `PIECE_BYTES` after `start`.

    If these bytes contain no such comma, return the offset of the next one, or `end` if there is none.
    """
    plain = raw[start : min(end, start + PIECE_BYTES)]
    if not any(byte in plain for byte in (b'"', b"[", b"{")) and b"," in plain:
        return start + plain.rindex(b",")
    last, level = end, 0
    for position, window in without_strings(raw, start, end):
        if last < end and position - start >= PIECE_BYTES:
            break
        opened, closed = _brackets(window)
        comma = _comma_near_end(window, level + opened - closed)
        if comma >= 0:
            last = position + comma
            level += opened - closed
            continue
        levels = bytes(_levels(window, level))
        comma = window.rfind(b",")
        while comma >= 0 and levels[comma]:
            comma = window.rfind(b",", 0, levels.rfind(b"\0", 0, comma) + 1)
        if comma >= 0:
            last = position + comma
        level = levels[-1]
    return last


def _comma_near_end(window: bytes, level: int) -> int:
    """Return the offset of the last comma outside of nested values, or -1 if it is not one of the last few commas.

    `level` is the depth of nesting at the end of `window`.
    """
    end = len(window)
    for _ in range(_MAX_COMMAS):
        comma = window.rfind(b",", 0, end)
        if comma < 0:
            return -1
        opened, closed = _brackets(window[comma:end])
        level += closed - opened
        if not level:
            return comma
        end = comma
    return -1


def _without_pairs(window: bytes) -> bytes:
    """Return the brackets of `window`. Remove the brackets of the innermost lists and objects, `_PAIR_ROUNDS` times.

    This is ten times as fast as `_levels`. Only texts that are nested more deeply need `_levels`.
    """
    brackets = window.translate(None, NOT_BRACKETS)
    for _ in range(_PAIR_ROUNDS):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return brackets


def _levels(window: bytes, level: int) -> Iterator[int]:
    """Return the depth of nesting after each byte of `window`, which starts at depth `level`."""
    levels = accumulate(memoryview(window.translate(_STEPS)).cast("b"), initial=level)
    next(levels)
    return levels


def _brackets(window: bytes) -> tuple[int, int]:
    return window.count(b"[") + window.count(b"{"), window.count(b"]") + window.count(b"}")


def without_strings(raw: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield windows of `raw` and their offsets, with the contents of strings replaced by spaces."""
    is_inside = False
    for position, window in _without_escapes(raw, start, end):
        parts = window.split(b'"')
        for index in range(not is_inside, len(parts), 2):
            parts[index] = b" " * len(parts[index])
        is_inside ^= len(parts) % 2 == 0
        yield position, b'"'.join(parts)


def _without_escapes(raw: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield windows of `raw` and their offsets, with escaped quotes and backslashes replaced by spaces.

    Every quote that remains starts or ends a string.
    """
    length = _MIN_WINDOW_BYTES
    while start < end:
        window = raw[start : min(end, start + length)]
        if b"\\" in window:
            if (len(window) - len(window.rstrip(b"\\"))) % 2 and start + length < end:
                window = window[:-1]  # the next window starts with the whole escape
            yield start, window.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        else:
            yield start, window
        start += len(window)
        length = min(2 * length, PIECE_BYTES)


def _skip(pattern: re.Pattern[bytes], raw: bytes, start: int) -> int:
    match = pattern.match(raw, start, start + _MAX_SKIPPED_BYTES)
    return start if match is None else match.end()
