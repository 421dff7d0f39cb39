"""Submitted bytes -> a time stamp and numbers, or every fault with its path.

There are two readers. The quick one is typed and gives up at the first fault, without saying which
others there are; the thorough one is asked only then, reads the same bytes with the standard
library's parser and names them all. The trap: a typed reader silently takes the last of two equal keys, so
bytes in which a key we read could stand twice go to the thorough reader, whatever the quick one says.
"""

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import chain
from math import isfinite
from typing import Any, NoReturn

import msgspec

from documents import timestamps
from documents.errors import InvalidSample, NotJson
from documents.problems import Problem, ProblemCode, bounded, echo

MAX_DEPTH = 64

_TIME_STAMP, _DATA = "time_stamp", "data"
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Payload:
    """`timestamp` is the instant in UTC, `data` at least one finite double."""

    timestamp: datetime
    data: Sequence[float]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What submitted bytes hold: a payload, or at least one problem.

    `time_stamp` is the text as submitted, None where there is no usable one; `count` is the number of
    values in `data`, 0 where it is no list.
    """

    time_stamp: str | None
    count: int
    payload: Payload | None
    problems: tuple[Problem, ...] = ()


class _Typed(msgspec.Struct):
    time_stamp: str
    data: list[float]


class _Members(list[tuple[str, object]]):
    """The members of a JSON object as they were written, equal keys included."""


_typed_decoder = msgspec.json.Decoder(_Typed)
_KINDS = {_Members: "an object", list: "a list", bool: "a boolean", float: "a number", type(None): "null"}


def read(raw: bytes, default_time_zone: tzinfo | None = None) -> Payload:
    """Return what `raw`, a JSON text in UTF-8, holds.

    Raises `InvalidSample` with its problems, and `NotJson` where `raw` is no JSON text.
    """
    inspection = inspect(raw, default_time_zone)
    if inspection.payload is None:
        raise InvalidSample(inspection.problems)
    return inspection.payload


def inspect(raw: bytes, default_time_zone: tzinfo | None = None) -> Inspection:
    """Return what `raw` holds, good or bad: all problems, up to `MAX_PROBLEMS` and a count of the rest.

    Raises `NotJson` where `raw` is no JSON text, for then there is no sample to speak of.
    """
    try:
        typed = _typed_decoder.decode(raw)
        if typed.data and _nowhere_twice(raw) and _within_depth(raw):
            raw.decode()  # the typed reader does not look into members that it does not know
            payload = Payload(timestamps.parse(typed.time_stamp, default_time_zone), typed.data)
            return Inspection(typed.time_stamp, len(typed.data), payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # the thorough reader says what is wrong, if anything is
    return _inspect_thoroughly(raw, default_time_zone)


def _nowhere_twice(raw: bytes) -> bool:
    """Tell whether neither key that we read can stand twice; an escape could spell one of them."""
    return raw.count(b'"time_stamp"') == 1 and raw.count(b'"data"') == 1 and b"\\" not in raw


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


def _inspect_thoroughly(raw: bytes, default_time_zone: tzinfo | None) -> Inspection:
    if not _within_depth(raw):
        problem = Problem("$", f"expected at most {MAX_DEPTH} levels of nesting", ProblemCode.TOO_DEEP)
        return Inspection(None, 0, None, (problem,))
    sample = _parse(raw)
    if not isinstance(sample, _Members):
        return Inspection(None, 0, None, (_wrong_type("$", "an object with `time_stamp` and `data`", sample),))

    members = dict(sample)
    time_stamp, data = members.get(_TIME_STAMP), members.get(_DATA)
    problems = list(_duplicates(sample))
    instant: datetime | None = None
    if _TIME_STAMP not in members:
        problems.append(Problem("$.time_stamp", "expected a time stamp, it is missing", ProblemCode.MISSING))
    elif not isinstance(time_stamp, str):
        problems.append(_wrong_type("$.time_stamp", "a time stamp as a string", time_stamp))
    else:
        try:
            instant = timestamps.parse(time_stamp, default_time_zone)
        except timestamps.TimeStampError as fault:
            problems.append(Problem("$.time_stamp", str(fault), fault.code))
    if _DATA not in members:
        problems.append(Problem("$.data", "expected a list of numbers, it is missing", ProblemCode.MISSING))
    elif type(data) is not list:
        problems.append(_wrong_type("$.data", "a list of numbers", data))
    elif not data:
        problems.append(Problem("$.data", "expected at least one number", ProblemCode.EMPTY))

    values: list[Any] = data if type(data) is list else []
    faults = bounded(chain(problems, _value_problems(values)))
    shown = time_stamp if isinstance(time_stamp, str) and _is_storable(time_stamp) else None
    payload = None if faults or instant is None else Payload(instant, values)
    return Inspection(shown, len(values), payload, faults)


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


def _is_storable(time_stamp: str) -> bool:
    return len(time_stamp) <= timestamps.MAX_TIME_STAMP_CHARACTERS and time_stamp.isprintable()
