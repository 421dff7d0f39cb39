"""A long JSON text in which one number stands for the contents of a long list.

Splitting a request reads its text twice: once for the request, once for its variables. Skipping the numbers of a
large sample took a sixth of the time until it was acknowledged (docs/performance.md). They are therefore replaced by
a random number that occurs nowhere else, until the value around them is needed.

The brackets may be part of a string. That is harmless, because the contents never include quotes or backslashes.
Nothing has validated the contents; the reader of the restored value does.
"""

import secrets
from dataclasses import dataclass

import msgspec

_NOT_REPLACED = (b'"', b"\\", b"{", b"}", b"[")
_MIN_MARKER = 10**30


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A text with a marker in place of the contents of a list."""

    text: bytes
    marker: bytes
    contents: memoryview

    def is_in(self, span: msgspec.Raw) -> bool:
        """Tell whether a part of the text includes the marker."""
        return self.marker in bytes(span)

    def restore(self, span: msgspec.Raw) -> bytes:
        """Return a part of the text with the contents put back."""
        before, marker, after = bytes(span).partition(self.marker)
        return b"".join((before, self.contents, after)) if marker else before


def replace_list(text: bytes) -> Placeholder | None:
    """Replace the contents of the list in the middle of `text`.

    Return None if the middle is not in a list, or if the list contains strings, lists or objects.
    """
    middle = len(text) // 2
    start = text.rfind(b"[", 0, middle) + 1
    end = text.find(b"]", start)
    if not start or end < middle or any(text.find(byte, start, end) >= 0 for byte in _NOT_REPLACED):
        return None
    marker = b"%d" % (_MIN_MARKER + secrets.randbelow(_MIN_MARKER))
    return Placeholder(b"%b%b%b" % (text[:start], marker, text[end:]), marker, memoryview(text)[start:end])
