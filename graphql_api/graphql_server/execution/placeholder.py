"""A long JSON text without the inside of a long list, for whoever looks for what is around it.

To skip over the numbers of a large sample, for the request and again for its variables, was a sixth of the time until
it was acknowledged (docs/performance.md). So they are left out, and a number that is nowhere else stands for them until
somebody wants the value that they are part of. The traps: the brackets may stand in a string, where the same holds
because quotes and backslashes are not left out; and nobody has read what is left out, so its faults are found by
whoever does.
"""

import secrets
from dataclasses import dataclass

import msgspec

_KEPT = (b'"', b"\\", b"{", b"}", b"[")
_MIN_MARK = 10**30


@dataclass(frozen=True, slots=True)
class Omission:
    """What was left out, and the text without it."""

    text: bytes
    mark: bytes
    inside: memoryview

    def is_in(self, span: msgspec.Raw) -> bool:
        """Tell whether a part of the text is where something was left out."""
        return self.mark in bytes(span)

    def restore(self, span: msgspec.Raw) -> bytes:
        """Return a part of the text as it was."""
        before, mark, after = bytes(span).partition(self.mark)
        return b"".join((before, self.inside, after)) if mark else before


def omit(text: bytes) -> Omission | None:
    """Leave out the inside of the list in the middle of `text`, if all that is in it are values without insides."""
    middle = len(text) // 2
    start = text.rfind(b"[", 0, middle) + 1
    end = text.find(b"]", start)
    if not start or end < middle or any(text.find(byte, start, end) >= 0 for byte in _KEPT):
        return None
    mark = b"%d" % (_MIN_MARK + secrets.randbelow(_MIN_MARK))
    return Omission(b"%b%b%b" % (text[:start], mark, text[end:]), mark, memoryview(text)[start:end])
