"""Submitted bytes -> a time stamp and numbers, or every fault with its path.

There are two readers. The quick one is typed and gives up at the first fault, without saying which
others there are; the thorough one is asked only then, reads the same bytes with the standard
library's parser and names them all. The traps: a typed reader silently takes the last of two equal keys, so
bytes in which a key we read could stand twice go to the thorough reader, whatever the quick one says. And
it holds the interpreter for as long as it reads, so the numbers of a large sample are read in pieces.
"""

import codecs
import json
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import chain
from math import isfinite
from typing import Any, NoReturn

import msgspec

from documents import names, timestamps
from documents.errors import InvalidSample, NotJson
from documents.problems import Problem, ProblemCode, bounded, echo

MAX_DEPTH = 64

_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY = "time_stamp", "data", "idempotency_key"
_DATA_OPENING = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*\[')
_PIECE_BYTES = 128 * 1024
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Payload:
    """`timestamp` is the instant in UTC, `data` at least one finite double."""

    timestamp: datetime
    data: "array[float]"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What submitted bytes are found to hold. Without problems, `read` gives their payload.

    `time_stamp` is the text as submitted, None where there is no usable one; `count` is the number of
    values in `data`, 0 where it is no list. `idempotency_key` is the member of that name, if any.
    """

    time_stamp: str | None
    count: int
    problems: tuple[Problem, ...] = ()
    idempotency_key: str | None = None


class _Typed(msgspec.Struct):
    time_stamp: str
    data: list[float]
    idempotency_key: str | None = None


class _Members(list[tuple[str, object]]):
    """The members of a JSON object as they were written, equal keys included."""


_sample_decoder = msgspec.json.Decoder(_Typed)
_numbers_decoder = msgspec.json.Decoder(list[float])
_KINDS = {_Members: "an object", list: "a list", bool: "a boolean", float: "a number", type(None): "null"}


def read(raw: bytes, default_time_zone: tzinfo | None = None) -> Payload:
    """Return what `raw`, a JSON text in UTF-8, holds.

    Raises `InvalidSample` with its problems, and `NotJson` where `raw` is no JSON text.
    """
    data: array[float] = array("d")
    if quick := _read_quickly(raw, default_time_zone, data.extend):
        return Payload(quick[0], data)
    inspection, values, timestamp = _read_thoroughly(raw, default_time_zone)
    if timestamp is None or inspection.problems:
        raise InvalidSample(inspection.problems)
    return Payload(timestamp, array("d", values))


def inspect(raw: bytes, default_time_zone: tzinfo | None = None) -> Inspection:
    """Return what `raw` holds, good or bad: all problems, up to `MAX_PROBLEMS` and a count of the rest.

    Raises `NotJson` where `raw` is no JSON text, for then there is no sample to speak of.
    """
    counts: list[int] = []
    if quick := _read_quickly(raw, default_time_zone, lambda values: counts.append(len(values))):
        _, typed = quick
        return Inspection(typed.time_stamp, sum(counts), idempotency_key=typed.idempotency_key)
    return _read_thoroughly(raw, default_time_zone)[0]


def _read_quickly(
    raw: bytes, default_time_zone: tzinfo | None, take: Callable[[list[float]], None]
) -> tuple[datetime, _Typed] | None:
    """Return the time of a faultless sample and give its numbers to `take`; None says: look thoroughly."""
    try:
        if not _nowhere_twice(raw) or not _within_depth(raw):
            return None
        typed, pieces = _whole(raw) if len(raw) <= _PIECE_BYTES else _in_pieces(raw)
        timestamp = timestamps.parse(typed.time_stamp, default_time_zone)
        for piece in pieces:
            if not piece:
                return None
            take(piece)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return (timestamp, typed) if _is_usable(typed.idempotency_key) else None


def _whole(raw: bytes) -> tuple[_Typed, Iterable[list[float]]]:
    raw.decode()  # the typed reader does not look into members that it does not know
    typed = _sample_decoder.decode(raw)
    return typed, [typed.data]


def _in_pieces(raw: bytes) -> tuple[_Typed, Iterable[list[float]]]:
    """Read everything but the numbers, then the numbers cut at commas, as a list each.

    Raises `ValueError` where the text has not the shape in which that is the same as reading it whole.
    """
    opening = _DATA_OPENING.search(raw)
    if opening is None:
        raise ValueError("no list of numbers")
    first, last = opening.end(), raw.index(b"]", opening.end())
    rest = raw[:first] + b"0" + raw[last:]
    typed, _ = _whole(rest)
    return typed, _pieces(raw, first, last)


def _pieces(raw: bytes, start: int, end: int) -> Iterator[list[float]]:
    while end - start > _PIECE_BYTES:
        comma = raw.rindex(b",", start, start + _PIECE_BYTES)
        yield _numbers_decoder.decode(b"[%b]" % raw[start:comma])
        start = comma + 1
    yield _numbers_decoder.decode(b"[%b]" % raw[start:end])


def _nowhere_twice(raw: bytes) -> bool:
    """Tell whether no key that we read can stand twice; an escape could spell one of them."""
    counts = [raw.count(b'"%b"' % key.encode()) for key in (_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY)]
    return counts[:2] == [1, 1] and counts[2] <= 1 and b"\\" not in raw


def _within_depth(raw: bytes) -> bool:
    """Tell whether lists and objects are nested at most `MAX_DEPTH` deep. Nothing is parsed."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return True
    depth = 0
    for token in _BRACKETS.finditer(raw):
        first = raw[token.start()]
        depth += first in b"[{"
        depth -= first in b"]}"
        if depth > MAX_DEPTH:
            return False
    return True


def _read_thoroughly(raw: bytes, default_time_zone: tzinfo | None) -> tuple[Inspection, list[Any], datetime | None]:
    if not _within_depth(raw):
        problem = Problem("$", f"expected at most {MAX_DEPTH} levels of nesting", ProblemCode.TOO_DEEP)
        return Inspection(None, 0, (problem,)), [], None
    sample = _parse(raw)
    if not isinstance(sample, _Members):
        problem = _wrong_type("$", "an object with `time_stamp` and `data`", sample)
        return Inspection(None, 0, (problem,)), [], None

    members = dict(sample)
    time_stamp, data, key = (members.get(name) for name in (_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY))
    problems = list(_duplicates(sample))
    timestamp: datetime | None = None
    if _TIME_STAMP not in members:
        problems.append(Problem("$.time_stamp", "expected a time stamp, it is missing", ProblemCode.MISSING))
    elif not isinstance(time_stamp, str):
        problems.append(_wrong_type("$.time_stamp", "a time stamp as a string", time_stamp))
    else:
        try:
            timestamp = timestamps.parse(time_stamp, default_time_zone)
        except timestamps.TimeStampError as fault:
            problems.append(Problem("$.time_stamp", str(fault), fault.code))
    if _DATA not in members:
        problems.append(Problem("$.data", "expected a list of numbers, it is missing", ProblemCode.MISSING))
    elif type(data) is not list:
        problems.append(_wrong_type("$.data", "a list of numbers", data))
    elif not data:
        problems.append(Problem("$.data", "expected at least one number", ProblemCode.EMPTY))
    if not _is_usable(key):
        expected = f"1 to {names.MAX_IDEMPOTENCY_KEY_CHARACTERS} printable characters as a string"
        problems.append(_wrong_type("$.idempotency_key", expected, key))
        key = None

    values: list[Any] = data if type(data) is list else []
    faults = bounded(chain(problems, _value_problems(values)))
    shown = time_stamp if isinstance(time_stamp, str) and _is_storable(time_stamp) else None
    found = Inspection(shown, len(values), faults, key if isinstance(key, str) else None)
    return found, values, timestamp


def _parse(raw: bytes) -> object:
    """Return `raw` as Python values, objects as `_Members` and every number as a float."""
    if raw.startswith(codecs.BOM_UTF8):
        raise NotJson("not JSON: it begins with a byte order mark; send plain UTF-8")
    try:
        return _thorough_decoder.decode(raw.decode())
    except UnicodeDecodeError as fault:
        raise NotJson(f"not JSON: byte {fault.start:,} is not UTF-8") from None
    except json.JSONDecodeError as fault:
        raise NotJson(f"not JSON: {fault.msg} at line {fault.lineno:,}, column {fault.colno:,}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"not JSON: {name} is no JSON number")


_thorough_decoder = json.JSONDecoder(
    object_pairs_hook=_Members, parse_int=float, parse_constant=_refuse_constant, strict=True
)


def _duplicates(sample: _Members) -> Iterator[Problem]:
    seen = Counter(key for key, _ in sample)
    for key, times in seen.items():
        if times > 1:
            yield Problem(
                f"$.{echo(key)}",
                f"expected the key once, it is there {times:,} times",
                ProblemCode.DUPLICATE_KEY,
            )


def _value_problems(data: list[Any]) -> Iterator[Problem]:
    for index, value in enumerate(data):
        if type(value) is not float:
            yield _wrong_type(f"$.data[{index}]", "a number", value)
        elif not isfinite(value):
            yield Problem(
                f"$.data[{index}]",
                "expected a number within the range of a double (±1.8e308)",
                ProblemCode.OUT_OF_RANGE,
            )


def _wrong_type(path: str, expected: str, value: object) -> Problem:
    kind = f"the string {echo(value)}" if isinstance(value, str) else _KINDS[type(value)]
    return Problem(path, f"expected {expected}, got {kind}", ProblemCode.WRONG_TYPE)


def _is_usable(key: object) -> bool:
    return key is None or (isinstance(key, str) and names.is_idempotency_key(key))


def _is_storable(time_stamp: str) -> bool:
    return len(time_stamp) <= timestamps.MAX_TIME_STAMP_CHARACTERS and time_stamp.isprintable()
