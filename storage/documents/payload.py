"""Submitted bytes -> a time stamp and numbers, or every fault with its path.

There are two readers. The quick one, here, is typed and gives up at the first fault, without saying which others
there are; the thorough one is asked only then and names them all. Both read the numbers of a large sample in
pieces, for a reader holds the interpreter for as long as it reads. The trap: a typed reader silently takes the last of
two equal keys, so where a key we read could stand twice, or be spelled with escapes, the thorough one decides.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo

import msgspec

from storage.documents import json_scanner, timestamps, validation
from storage.documents.errors import InvalidSample
from storage.documents.validation import MAX_DEPTH, Inspection, Take

_DATA_OPENING = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*\[')
_ESCAPED_LETTER = re.compile(rb"\\u00(?:5[fF]|[67])")  # one of those that the keys we read consist of


@dataclass(frozen=True, slots=True)
class Payload:
    """`timestamp` is the instant in UTC, `data` at least one finite double."""

    timestamp: datetime
    data: "array[float]"


class _Typed(msgspec.Struct):
    time_stamp: str
    data: list[float]
    idempotency_key: str | None = None


_QUOTED_KEYS = [b'"%b"' % key.encode() for key in _Typed.__struct_fields__]
_sample_decoder = msgspec.json.Decoder(_Typed)
_numbers_decoder = msgspec.json.Decoder(list[float])


def read(raw: bytes, default_time_zone: tzinfo | None = None) -> Payload:
    """Return what `raw`, a JSON text in UTF-8, holds.

    Raises `InvalidSample` with its problems, and `NotJson` where `raw` is no JSON text.
    """
    data: array[float] = array("d")
    if quick := _read_quickly(raw, default_time_zone, data.extend):
        return Payload(quick[0], data)
    data = array("d")
    found, timestamp = validation.look(raw, default_time_zone, data.extend)
    if timestamp is None or found.problems:
        raise InvalidSample(found.problems)
    return Payload(timestamp, data)


def inspect(raw: bytes, default_time_zone: tzinfo | None = None) -> Inspection:
    """Return what `raw` holds, good or bad: all problems, up to `MAX_PROBLEMS` and a count of the rest.

    Raises `NotJson` where `raw` is no JSON text, for then there is no sample to speak of.
    """
    counts: list[int] = []
    if quick := _read_quickly(raw, default_time_zone, lambda values: counts.append(len(values))):
        _, typed = quick
        return Inspection(typed.time_stamp, sum(counts), idempotency_key=typed.idempotency_key)
    return validation.look(raw, default_time_zone, lambda values: None)[0]


def _read_quickly(raw: bytes, default_time_zone: tzinfo | None, take: Take) -> tuple[datetime, _Typed] | None:
    """Return the time of a faultless sample and give its numbers to `take`; None says: look thoroughly."""
    try:
        if not json_scanner.is_within(raw, MAX_DEPTH):
            return None
        typed, pieces = _whole(raw) if len(raw) <= json_scanner.PIECE_BYTES else _in_pieces(raw)
        timestamp = timestamps.parse(typed.time_stamp, default_time_zone)
        for piece in pieces:
            if not piece:
                return None
            take(piece)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return (timestamp, typed) if validation.is_usable(typed.idempotency_key) else None


def _whole(raw: bytes) -> tuple[_Typed, Iterable[list[float]]]:
    """Read `raw` at once. Raises `ValueError` where a key that we read could stand twice."""
    counts = [raw.count(key) for key in _QUOTED_KEYS]
    if counts[:2] != [1, 1] or counts[2] > 1 or (b"\\u00" in raw and _ESCAPED_LETTER.search(raw)):
        raise ValueError("a key may be there twice")
    raw.decode()  # the typed reader does not look into members that it does not know
    typed = _sample_decoder.decode(raw)
    return typed, [typed.data]


def _in_pieces(raw: bytes) -> tuple[_Typed, Iterable[list[float]]]:
    """Read everything but the numbers, then the numbers cut at commas, as a list each.

    Raises `ValueError` where the text has not the shape in which that is the same as reading it whole.
    """
    opening = _DATA_OPENING.match(raw, raw.index(b'"data"'))
    if opening is None:
        raise ValueError("no list of numbers")
    first, last = opening.end(), raw.index(b"]", opening.end())
    typed, _ = _whole(raw[:first] + b"0" + raw[last:])
    return typed, numbers(raw, first, last)


def numbers(raw: bytes, start: int, end: int) -> Iterator[list[float]]:
    """Yield the numbers between two places of a list, some at a time. Raises `msgspec.MsgspecError`."""
    return (_numbers_decoder.decode(b"[%b]" % raw[first:last]) for first, last in json_scanner.pieces(raw, start, end))
