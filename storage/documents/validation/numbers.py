"""Numbers of a JSON list, decoded at about the same cost for every number.

msgspec needs 400 times as long for `1e308` as for `1.5`, because it uses arithmetic with long integers for such
numbers. orjson needs at most 50 ns for each number of up to 20 digits, and a few nanoseconds for each further digit.
"""

import orjson

from storage.documents.validation.json_scanner import PIECE_BYTES

MAX_STEP_BYTES = 2 * PIECE_BYTES
"""A longer piece has a long value or long whitespace. Decoding it in one step would block the interpreter."""

_NOT_IN_NUMBERS = (b'"', b"{", b"u", b"l")
"""Every value that is not a number contains one of these characters, or is a list, with a second `[`."""


def decode(raw: bytes, start: int, end: int) -> list[float]:
    """Return the numbers between two offsets inside a list. Whole numbers may be returned as `int`.

    Raises `ValueError` if the text between them is too long or is not JSON, or if a value is not a number within the
    range of a double.
    """
    if end - start > MAX_STEP_BYTES:
        raise ValueError("a value or whitespace is too long to be decoded in one step")
    text = b"[%b]" % raw[start:end]
    if any(part in text for part in _NOT_IN_NUMBERS) or text.find(b"[", 1) > 0:
        raise ValueError("a value is not a number")
    numbers: list[float] = orjson.loads(text)
    return numbers
