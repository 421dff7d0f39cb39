"""Check that a text is JSON in UTF-8, in pieces, so that no step blocks the interpreter.

A long text is cut at commas, at any depth. Each piece is completed to a JSON text. The lists and objects that are open
at the start of the piece are opened before it. The lists and objects that are open at its end are closed after it. A
zero stands for the values on the other side of a cut. The text is JSON if and only if each piece is JSON. For example,
`{"a":[1,2],"b":3}` is cut into `{"a":[1,0]}`, `{"":[0,2],"":0}` and `{"":0,"b":3}`.

A value or whitespace without a comma cannot be cut. It may therefore have up to `MAX_PIECE_BYTES`.
"""

import codecs
import re
from collections.abc import Iterator

import msgspec

from storage.documents.errors import IncompleteJson, NotJson
from storage.documents.validation import json_scanner
from storage.documents.validation.json_scanner import PIECE_BYTES, Span

MAX_PIECE_BYTES = 256 * 1024
"""The longest string, number or whitespace."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MALFORMED = re.compile(r"(?:JSON is malformed: )?(.+?)(?: \(byte (\d+)\))?")
_TRUNCATED = "truncated"  # in the message of msgspec for a text that ends too early

_TRAILING = "trailing characters"  # for this error, msgspec returns the offset after the first such character
_OUTER_CLOSINGS = {0x5B: b"]", 0x7B: b"}"}
_INNER_CLOSINGS = {0x5B: b",0]", 0x7B: b',"":0}'}
_OUTER_OPENINGS = {0x5B: b"[", 0x7B: b'{"":'}
_INNER_OPENINGS = {0x5B: b"[0,", 0x7B: b'{"":0,'}
_decoder = msgspec.json.Decoder(msgspec.Raw)


class TooLong(Exception):
    """The text has a part that is longer than a limit. The message names the limit."""


def check(raw: bytes, omitted: Span | None = None) -> None:
    """Raise `NotJson` if `raw`, except the `omitted` values of a list, is not a JSON text in UTF-8.

    Raises `TooLong` if a string, a number or whitespace is longer than `MAX_PIECE_BYTES`.
    """
    start, end = omitted or (len(raw), len(raw))
    opened = b""
    before = b""  # completes the next piece
    piece, plain, piece_start = b"", b"", 0

    def check_piece(after: bytes, *, is_complete: bool = True) -> None:
        text = before + piece + after
        try:
            _decode(text)
        except msgspec.MsgspecError as error:
            match = _MALFORMED.fullmatch(str(error))
            message, offset = match.groups() if match else (str(error), None)
            is_truncated = _TRUNCATED in message
            if is_complete or not is_truncated:
                in_piece = len(piece) if offset is None else int(offset) - len(before) - (message == _TRAILING)
                at = piece_start + min(max(in_piece, 0), len(piece))
                kind = IncompleteJson if is_truncated else NotJson
                raise not_json(raw, message, at if at <= start else at + end - start - 1, kind) from None

    for position, window, plain_window in _windows(raw, start, end):
        comma = plain_window.rfind(b",")
        if comma < 0 or len(raw) - (end - start) <= PIECE_BYTES:
            piece += window
            plain += plain_window
            if len(piece) > MAX_PIECE_BYTES:
                check_piece(b"", is_complete=False)
                raise too_long()
            continue
        piece += window[:comma]
        opened = _still_open(opened, plain + plain_window[:comma])
        check_piece(_close(opened))
        before = _reopen(opened)
        piece, plain, piece_start = window[comma + 1 :], plain_window[comma + 1 :], position + comma + 1
    check_piece(b"")


def check_utf8(raw: bytes) -> None:
    """Raise `NotJson` if `raw` is not UTF-8. Nothing else is checked."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start, end in _spans(0, len(raw)):
        _check_utf8(decoder, raw[start:end], start)
    _check_utf8(decoder, b"", len(raw), final=True)


def too_long() -> TooLong:
    """Return the error for a part of a text that cannot be cut."""
    return TooLong(f"expected strings, numbers and whitespace of up to {MAX_PIECE_BYTES:,} bytes each")


def not_json(raw: bytes, message: str, offset: int, kind: type[NotJson] = NotJson) -> NotJson:
    """Return the error of a `kind` for the text `raw` that is malformed at `offset`.

    The error of a text with one line does not name the line. The text can be a line of an NDJSON body.
    """
    line_start = raw.rfind(b"\n", 0, offset) + 1
    line = 1 + sum(raw.count(b"\n", *span) for span in _spans(0, line_start))
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    column = 1 + sum(len(decoder.decode(raw[slice(*span)])) for span in _spans(line_start, offset))
    place = f"line {line:,}, column {column:,}" if b"\n" in raw else f"column {column:,}"
    return kind(f"not JSON: {message} at {place}")


def not_utf8(offset: int) -> NotJson:
    """Return the error for a text that is not UTF-8 at `offset`."""
    return NotJson(f"not JSON: byte {offset:,} is not UTF-8")


def _windows(raw: bytes, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield windows of `raw` in which `0` replaces `raw[start:end]`: offset, text, and text without strings."""
    decoder = codecs.getincrementaldecoder("utf-8")()

    def windows(first: int, last: int, shift: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        for position, plain in json_scanner.without_strings(raw, first, last):
            window = raw[position : position + len(plain)]
            _check_utf8(decoder, window, position)
            yield position - shift, window, plain

    yield from windows(0, start)
    if start < end:
        yield start, b"0", b"0"
        yield from windows(end, len(raw), end - start - 1)
    _check_utf8(decoder, b"", len(raw), final=True)


def _check_utf8(decoder: codecs.IncrementalDecoder, window: bytes, position: int, *, final: bool = False) -> None:
    incomplete = len(decoder.getstate()[0])
    try:
        decoder.decode(window, final)
    except UnicodeDecodeError as error:
        raise not_utf8(position - incomplete + error.start) from None


def _decode(text: bytes) -> None:
    try:
        _decoder.decode(text)
    except msgspec.MsgspecError:
        _decoder.decode(_SURROGATE.sub(rb"\\u00", text))  # lone surrogates are valid in JSON


def _still_open(opened: bytes, plain: bytes) -> bytes:
    """Return the brackets that are open after `plain`, if `opened` are open before it."""
    brackets = opened + plain.translate(None, json_scanner.NOT_BRACKETS)
    length = len(brackets) + 1
    while len(brackets) < length:
        length = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bytes(bracket for bracket in brackets[: json_scanner.MAX_DEPTH] if bracket in _OUTER_CLOSINGS)


def _close(opened: bytes) -> bytes:
    if not opened:
        return b""
    outer = b"".join(_OUTER_CLOSINGS[opening] for opening in reversed(opened[:-1]))
    return _INNER_CLOSINGS[opened[-1]] + outer


def _reopen(opened: bytes) -> bytes:
    if not opened:
        return b","  # nothing may follow the end of the text
    return b"".join(_OUTER_OPENINGS[opening] for opening in opened[:-1]) + _INNER_OPENINGS[opened[-1]]


def _spans(start: int, end: int) -> Iterator[Span]:
    return ((first, min(first + PIECE_BYTES, end)) for first in range(start, end, PIECE_BYTES))
