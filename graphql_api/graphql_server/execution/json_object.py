"""JSON texts that msgspec splits into spans, without parsing the values.

msgspec uses the last value of a duplicate key, so this module rejects duplicate keys itself. msgspec does not validate
the encoding of text that it skips, so this module validates that the whole text is UTF-8.
"""

import codecs
import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import TypeVar

import msgspec

from graphql_api.client_text import shorten
from graphql_api.graphql_server.settings import MIB
from storage.documents.errors import BadRequest, TooLarge

# The quantifiers are possessive, so a string without an end fails to match at once, without backtracking.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = re.compile(rb"[\s,{]*(" + _STRING + rb")\s*:\s*", re.DOTALL)
_END = re.compile(rb"[\s{]*\}\s*\Z")
_BRACKET = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_PRIMITIVE = re.compile(_STRING + rb"|[^\s,\]}]+", re.DOTALL)
_OF_SURROGATE = re.compile("truncated|surrogate|hex escape")
_FIRST_LONE_SURROGATE = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?![dD][89a-fA-F])|\\[^u])*+"
    rb"(\\u[dD][89a-fA-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
_UTF8_CHUNK = 256 * 1024
_MIN_DUPLICATE_BYTES = len(b',"k":1')
_MAX_UNUSED_KEYS = 200
_MAX_UNUSED_BYTES = 2 * MIB
"""Keys, values and whitespace that an operation does not use. Reading this number of bytes takes 6 to 20 ms."""

_MAX_UNUSED_BRACKETS = 20_000
"""Brackets in these values. Reading this number of brackets takes about 7 ms."""

_T = TypeVar("_T")


def decode(decoder: msgspec.json.Decoder[_T], text: bytes | msgspec.Raw, what: str) -> _T:
    """Return the decoded text. Raises `BadRequest`, which names `what`."""
    try:
        return decoder.decode(text)
    except RecursionError:
        raise BadRequest(f"{what} is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"{what} is not valid: {_lone_surrogate(text, error) or shorten(str(error), 120)}") from None


def _lone_surrogate(text: bytes | msgspec.Raw, error: Exception) -> str | None:
    """Return which escape in a text is half of a character, if this can be why msgspec refuses the text.

    The message of msgspec can say that the text was truncated.
    """
    if not _OF_SURROGATE.search(str(error)):
        return None
    found = _FIRST_LONE_SURROGATE.match(memoryview(text), 0, MIB)  # a longer search would take milliseconds
    if found is None:
        return None
    escape = found[1].decode()
    return f"{escape} is half of a character (byte {found.start(1)}); send both halves, or the character in UTF-8"


def check_utf8(text: bytes | msgspec.Raw) -> None:
    """Raise `BadRequest` if a text is not UTF-8."""
    if isinstance(text, bytes) and text.isascii():
        return
    view = memoryview(text)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(view), _UTF8_CHUNK):
            decoder.decode(view[start : start + _UTF8_CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise BadRequest("the request is not valid UTF-8") from None


def check_unique(text: bytes | msgspec.Raw, spans: Mapping[str, msgspec.Raw]) -> None:
    """Raise `BadRequest` if a well-formed JSON object has a duplicate key.

    The loop reads one key after the other. For a value in `spans`, it skips the length of the span. If a key occurs
    twice, the span may belong to the other value. The loop then stops before the end of the object, which also raises.

    Raises `TooLarge` for much text or many keys outside of `spans`, because the loop reads this text.
    """
    view = memoryview(text)
    known = 1 + sum(4 + len(key) + len(memoryview(span)) for key, span in spans.items())
    if len(view) - known < _MIN_DUPLICATE_BYTES:
        return  # the text has no space for another key
    if len(view) - known > _MAX_UNUSED_BYTES:
        raise unused_value()
    seen: set[str] = set()
    brackets = _MAX_UNUSED_BRACKETS
    max_keys = len(spans) + _MAX_UNUSED_KEYS
    position = 0
    while match := _KEY.match(view, position):
        key = msgspec.json.decode(match[1], type=str) if b"\\" in match[1] else str(match[1][1:-1], "utf-8")
        if key in seen:
            break
        if len(seen) == max_keys:
            raise TooLarge(f"the request has over {_MAX_UNUSED_KEYS} keys that its operation does not use; remove them")
        seen.add(key)
        span = spans.get(key)
        if span is not None:
            position = match.end() + len(memoryview(span))
        else:
            position, brackets = _skip(view, match.end(), brackets)
    if not _END.match(view, position):
        raise BadRequest("the request has the same key twice in one object; send each key once")


def check_unique_within(text: msgspec.Raw, what: str) -> None:
    """Raise `BadRequest`, which names `what`, if an object at any depth of well-formed JSON has a duplicate key."""

    def count(members: list[tuple[str, object]]) -> None:
        if len(dict(members)) < len(members):
            raise BadRequest(f"{what} has the same key twice in one object; send each key once")

    if b"{" in bytes(text):
        try:
            json.loads(bytes(text), object_pairs_hook=count, parse_int=str, parse_float=str)
        except RecursionError:
            raise BadRequest(f"{what} is nested too deeply") from None


def _skip(text: memoryview, start: int, max_brackets: int) -> tuple[int, int]:
    """Return the position after the JSON value that begins at `start`, and how many of `max_brackets` it leaves."""
    if text[start] not in b"{[":
        match = _PRIMITIVE.match(text, start)
        return (match.end() if match else len(text)), max_brackets
    depth = 0
    for number, match in enumerate(islice(_BRACKET.finditer(text, start), max_brackets), 1):
        if match[0] in (b"{", b"["):
            depth += 1
        elif match[0] in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return match.end(), max_brackets - number
    raise unused_value()


def unused_value() -> TooLarge:
    """Return the error for a large value that is not used."""
    return TooLarge("the request has a large value, or much whitespace, that its operation does not use; remove it")
