"""Replaces the numbers of long lists in a JSON text with placeholders: random numbers, one for each part of the text.

Splitting a request reads its text up to three times, and blocks the interpreter each time. For a large sample, reading
all numbers twice took a sixth of the time until the response. The server therefore splits a text in which placeholders
replace most numbers. It restores the numbers when the value with the list is needed.

A replaced part may also be inside a JSON string. This causes no error, because the part has no quotes or backslashes.
This module does not validate the replaced parts. They are validated when the restored value is parsed.
"""

import secrets
from collections.abc import Iterator

import msgspec

from graphql_api.graphql_server.settings import MIB
from storage.documents.errors import TooLarge

MAX_KEPT_BYTES = 10 * MIB
"""The longest text with placeholders. Splitting it in one step blocks the interpreter for 20 ms."""

_NOT_REPLACED = (b'"', b"[", b"]", b"{", b"}", b"\\")
_MIN_REPLACED_BYTES = 4096
_STEP_BYTES = 2048  # the search skips this number of bytes, so that many quotes or brackets do not slow it down
_INDEX_DIGITS = 6
_MIN_MARKER = 10**30


class PlaceholderText:
    """A text with placeholders. A placeholder is `_marker`, and then the number of the part that it replaces."""

    def __init__(self, original: bytes) -> None:
        """Replace the long parts of `original` that have no quotes, backslashes, brackets or braces.

        Raises `TooLarge` if the rest of the text is too long.
        """
        self._marker = b"%d" % (_MIN_MARKER + secrets.randbelow(_MIN_MARKER))
        self._parts: list[memoryview] = []
        kept: list[bytes] = []
        view, position = memoryview(original), 0
        for start, end in _replaceable(original):
            kept.append(original[position:start])
            kept.append(self._marker + b"%0*d" % (_INDEX_DIGITS, len(self._parts)))
            self._parts.append(view[start:end])
            position = end
        kept.append(original[position:])
        self.text = b"".join(kept)

    def is_in(self, span: msgspec.Raw) -> bool:
        """Return whether a part of the text has a placeholder."""
        return self._marker in bytes(span)

    def are_all_in(self, *spans: msgspec.Raw) -> bool:
        """Return whether these parts of the text together contain all placeholders."""
        return sum(bytes(span).count(self._marker) for span in spans) == len(self._parts)

    def restore(self, span: msgspec.Raw) -> bytes:
        """Return a part of the text with its placeholders replaced by the original text."""
        first, *others = bytes(span).split(self._marker)
        restored: list[bytes | memoryview] = [first]
        for other in others:
            restored += (self._parts[int(other[:_INDEX_DIGITS])], other[_INDEX_DIGITS:])
        return b"".join(restored)


def _replaceable(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each long part that can be replaced. A comma precedes and follows each part.

    Raises `TooLarge` if the rest of the text is too long.
    """
    found = dict.fromkeys(_NOT_REPLACED, -1)  # the first occurrence at or after `start`
    start = replaced = 0
    while start < len(text):
        for byte, position in found.items():
            if position < start:
                position = text.find(byte, start)
                found[byte] = len(text) if position < 0 else position
        end = min(found.values())
        if end - start > _MIN_REPLACED_BYTES:
            first, last = text.find(b",", start, end) + 1, text.rfind(b",", start, end)
            if first and last - first > _MIN_REPLACED_BYTES:
                yield first, last
                replaced += last - first
        start = max(end + 1, start + _STEP_BYTES)
        if min(start, len(text)) - replaced > MAX_KEPT_BYTES:
            raise TooLarge(
                f"expected a request of at most {MAX_KEPT_BYTES // MIB} MiB besides long lists of numbers; "
                "send a sample with other values to `POST /samples`"
            )
