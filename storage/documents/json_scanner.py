"""Where the values of a JSON text begin and end, found without reading them.

A large text must not be read in one step: the reader would hold the interpreter while others wait. Here
it is looked over in windows, with the speed of `bytes`, whatever is in it. The trap: nothing here says that the
text is JSON. Of a text that is none the spans are some spans, and whoever reads them finds the fault.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from operator import indexOf

PIECE_BYTES = 64 * 1024

_MIN_WINDOW_BYTES = 256  # windows grow, so that a short value costs little
_STEPS = bytes({0x5B: 1, 0x7B: 1, 0x5D: 0xFF, 0x7D: 0xFF}.get(byte, 0) for byte in range(256))
_SPACE = re.compile(rb"[ \t\r\n]*+")
_COLON = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_COMMA = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+")
_SHORT_STRING = re.compile(rb'"(?:[^"\\]|\\.){0,100}+"', re.DOTALL)  # most strings are, and this is the quick way
_SHORT_NESTED = re.compile(  # what is in it may be nested once more
    rb'[\[{](?:[^"\[\]{}]|"(?:[^"\\]|\\.){0,100}+"|[\[{][^"\[\]{}]{0,100}+[\]}]){0,100}+[\]}]', re.DOTALL
)
_PLAIN = re.compile(rb'[^"\[{\]}, \t\r\n:]*+')

Span = tuple[int, int]


def start_of_value(raw: bytes) -> int:
    """Return where the text begins, behind white space."""
    return _after(_SPACE, raw, 0)


def members(raw: bytes, start: int) -> Iterator[tuple[Span, Span]]:
    """Yield the spans of key and value of each member of the object that begins at `start`."""
    position = _after(_SPACE, raw, start + 1)
    while position < len(raw) and raw[position] == 0x22:
        key = position, end_of_value(raw, position)
        start = _after(_COLON, raw, key[1])
        end = end_of_value(raw, start)
        if start == key[1] or end == start:
            return
        yield key, (start, end)
        position = _after(_COMMA, raw, end)
        if position == end:
            return


def end_of_value(raw: bytes, start: int) -> int:
    """Return where the value that begins at `start` ends: the end of the text where it does not."""
    match raw[start : start + 1]:
        case b'"':
            return _end_of_string(raw, start)
        case b"[" | b"{":
            return _end_of_nested(raw, start)
    return _after(_PLAIN, raw, start)


def pieces(raw: bytes, start: int, end: int) -> Iterator[Span]:
    """Cut the inside of a list at commas between its values; only a long value makes a long piece."""
    while end - start > PIECE_BYTES:
        comma = _last_comma(raw, start, end)
        if comma == end:
            break
        yield start, comma
        start = comma + 1
    yield start, end


def is_within(raw: bytes, depth: int) -> bool:
    """Tell whether lists and objects are nested at most `depth` deep."""
    if _has_at_most(raw, depth, b"[", b"{"):
        return True
    level = 0
    for _, window in _without_strings(raw, 0, len(raw)):
        opened, closed = _brackets(window)
        if level + opened > depth and max(_levels(window, level)) > depth:
            return False
        level += opened - closed
    return True


def _has_at_most(raw: bytes, most: int, *openings: bytes) -> bool:
    """Tell whether there are at most so many. To find the few that there mostly are is quicker than to count."""
    found = 0
    for opening in openings:
        position = raw.find(opening)
        while position >= 0:
            found += 1
            if found > most:
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
    for position, window in _without_strings(raw, start, len(raw)):
        opened, closed = _brackets(window)
        if level <= closed:
            try:
                return position + indexOf(_levels(window, level), 0) + 1
            except ValueError:
                pass
        level += opened - closed
    return len(raw)


def _last_comma(raw: bytes, start: int, end: int) -> int:
    """Return the last comma between values in about a piece from `start` on, or behind; `end` where there is none."""
    plain = raw[start : min(end, start + PIECE_BYTES)]
    if not any(byte in plain for byte in (b'"', b"[", b"{")) and b"," in plain:
        return start + plain.rindex(b",")
    found, level = end, 0
    for position, window in _without_strings(raw, start, end):
        if found < end and position - start >= PIECE_BYTES:
            break
        levels = bytes(_levels(window, level))
        comma = window.rfind(b",")
        while comma >= 0 and levels[comma]:
            comma = window.rfind(b",", 0, levels.rfind(b"\0", 0, comma) + 1)
        if comma >= 0:
            found = position + comma
        level = levels[-1]
    return found


def _levels(window: bytes, level: int) -> Iterator[int]:
    """Return how deep the text is nested behind each byte of `window`, from `level` on."""
    levels = accumulate(memoryview(window.translate(_STEPS)).cast("b"), initial=level)
    next(levels)
    return levels


def _brackets(window: bytes) -> tuple[int, int]:
    return window.count(b"[") + window.count(b"{"), window.count(b"]") + window.count(b"}")


def _without_strings(raw: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield windows of `raw` and their positions, with what stands between quotes blanked."""
    inside = False
    for position, window in _without_escapes(raw, start, end):
        parts = window.split(b'"')
        for index in range(not inside, len(parts), 2):
            parts[index] = b" " * len(parts[index])
        inside ^= len(parts) % 2 == 0
        yield position, b'"'.join(parts)


def _without_escapes(raw: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield windows of `raw` and their positions, in which every quote begins or ends a string."""
    length = _MIN_WINDOW_BYTES
    while start < end:
        window = raw[start : min(end, start + length)]
        if b"\\" in window:
            if (len(window) - len(window.rstrip(b"\\"))) % 2 and start + length < end:
                window = window[:-1]  # the next window begins with the escape as a whole
            yield start, window.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        else:
            yield start, window
        start += len(window)
        length = min(2 * length, PIECE_BYTES)


def _after(pattern: re.Pattern[bytes], raw: bytes, start: int) -> int:
    match = pattern.match(raw, start)
    return start if match is None else match.end()
