"""Text that contains the input of a client, made safe for responses and for the log.

This module imports nothing, because the keys command uses it: graphql-core would take a fifth of the time of its start.
"""

_MAX_MESSAGE_BYTES = 240

_CONTROL_CHARACTERS = dict.fromkeys((*range(32), 127), " ")


def shorten(text: str, max_bytes: int = _MAX_MESSAGE_BYTES) -> str:
    """Return `text` on one line, cut to at most `max_bytes` of UTF-8. Use it for text that contains client input."""
    encoded = text[:max_bytes].translate(_CONTROL_CHARACTERS).encode("utf-8", "replace")
    if len(text) <= max_bytes and len(encoded) <= max_bytes:
        return encoded.decode()
    return encoded[: max_bytes - 3].decode("utf-8", "ignore") + "…"


def is_utf_8(text: bytes | bytearray) -> bool:
    """Return whether a text is UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
