"""The thorough reader: every fault of a sample, with its path.

The members are found by their outline and only those we read are read, the numbers in pieces; of the
others nothing matters but that they are JSON. The trap: a fault that makes the text no JSON counts more than any
problem, wherever it stands, so all pieces are read before anything is said.
"""

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from math import isfinite
from typing import Any, NoReturn

import msgspec

from storage.documents import document_paths, json_scanner, timestamps
from storage.documents.errors import InvalidSample, NotJson
from storage.documents.problems import Findings, Problem, ProblemCode, echo

MAX_DEPTH = 64

Take = Callable[[list[float]], None]

_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY = "time_stamp", "data", "idempotency_key"
_EMPTY_LIST = re.compile(rb"\[[ \t\r\n]*+\]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MALFORMED = re.compile(r"(?:JSON is malformed: )?(.+?)(?: \(byte (\d+)\))?")
_KINDS = {dict: "an object", list: "a list", bool: "a boolean", float: "a number", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What submitted bytes are found to hold. Without problems, `payload.read` gives their payload.

    `time_stamp` is the text as submitted, None where there is no usable one; `count` is the number of
    values in `data`, 0 where it is no list. `idempotency_key` is the member of that name, if any.
    """

    time_stamp: str | None
    count: int
    problems: tuple[Problem, ...] = ()
    idempotency_key: str | None = None


def look(raw: bytes, default_time_zone: tzinfo | None, take: Take) -> tuple[Inspection, datetime | None]:
    """Return what is found, and the time; give the numbers to `take`, all of them where there are no problems.

    Raises `NotJson` where `raw` is no JSON text in UTF-8.
    """
    if not json_scanner.is_within(raw, MAX_DEPTH):
        problem = Problem("$", f"expected at most {MAX_DEPTH} levels of nesting", ProblemCode.TOO_DEEP)
        return Inspection(None, 0, (problem,)), None
    if raw.startswith(codecs.BOM_UTF8):
        raise NotJson("not JSON: it begins with a byte order mark; send plain UTF-8")
    start = json_scanner.start_of_value(raw)
    if raw[start : start + 1] != b"{":
        _check_syntax(raw)
        problem = _wrong_type("$", "an object with `time_stamp` and `data`", _value(raw[start:]))
        return Inspection(None, 0, (problem,)), None

    keys, spans = _members(raw, start)
    inside = _inside_of_list(raw, spans.get(_DATA))
    _check_syntax(raw, inside)
    found = {name: _value(raw[slice(*span)]) for name, span in spans.items() if name != _DATA or inside is None}
    findings = Findings()
    findings.add_all(_duplicate, ((key, times) for key, times in keys.items() if times > 1))
    timestamp: datetime | None = None
    try:
        timestamp = _instant(found, default_time_zone)
    except InvalidSample as fault:
        findings.add(fault.problems[0])
    if inside is None:
        findings.add(_no_numbers(found))
    key = found.get(_IDEMPOTENCY_KEY)
    if not is_usable(key):
        expected = f"1 to {document_paths.MAX_IDEMPOTENCY_KEY_CHARACTERS} printable characters as a string"
        findings.add(_wrong_type("$.idempotency_key", expected, key))
        key = None
    count = 0 if inside is None else _read_values(raw, inside, findings, take)
    time_stamp = found.get(_TIME_STAMP)
    shown = time_stamp if isinstance(time_stamp, str) and _is_storable(time_stamp) else None
    return Inspection(shown, count, findings.all(), key if isinstance(key, str) else None), timestamp


def is_usable(key: object) -> bool:
    """Tell whether the member `idempotency_key` is one; null is none, and fine."""
    return key is None or (isinstance(key, str) and document_paths.is_idempotency_key(key))


def _is_storable(time_stamp: str) -> bool:
    return len(time_stamp) <= timestamps.MAX_TIME_STAMP_CHARACTERS and time_stamp.isprintable()


def _members(raw: bytes, start: int) -> tuple[Counter[str], dict[str, json_scanner.Span]]:
    """Return how often each key is there, and where the last value of each that we read stands."""
    keys: Counter[str] = Counter()
    spans: dict[str, json_scanner.Span] = {}
    try:
        for key_span, span in json_scanner.members(raw, start):
            key = str(_value(raw[slice(*key_span)]))
            keys[key] += 1
            if key in (_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY):
                spans[key] = span
    except ValueError:
        _check_syntax(raw)  # says what is wrong with that key, and where
        raise
    return keys, spans


def _inside_of_list(raw: bytes, span: json_scanner.Span | None) -> json_scanner.Span | None:
    """Return where the values of the list at `span` stand; None where there is no list, or nothing in it."""
    if span is None or raw[span[0]] != 0x5B or raw[span[1] - 1] != 0x5D or _EMPTY_LIST.fullmatch(raw, *span):
        return None
    return span[0] + 1, span[1] - 1


def _instant(found: dict[str, object], default_time_zone: tzinfo | None) -> datetime:
    path = "$.time_stamp"
    if _TIME_STAMP not in found:
        raise InvalidSample([Problem(path, "expected a time stamp, it is missing", ProblemCode.MISSING)])
    text = found[_TIME_STAMP]
    if not isinstance(text, str):
        raise InvalidSample([_wrong_type(path, "a time stamp as a string", text)])
    try:
        return timestamps.parse(text, default_time_zone)
    except timestamps.TimeStampError as fault:
        raise InvalidSample([Problem(path, str(fault), fault.code)]) from None


def _no_numbers(found: dict[str, object]) -> Problem:
    if _DATA not in found:
        return Problem("$.data", "expected a list of numbers, it is missing", ProblemCode.MISSING)
    if isinstance(found[_DATA], list):
        return Problem("$.data", "expected at least one number", ProblemCode.EMPTY)
    return _wrong_type("$.data", "a list of numbers", found[_DATA])


def _duplicate(key: str, times: int) -> Problem:
    message = f"expected the key once, it is there {times:,} times"
    return Problem(f"$.{echo(key)}", message, ProblemCode.DUPLICATE_KEY)


def _wrong_type(path: str, expected: str, value: object) -> Problem:
    kind = f"the string {echo(value)}" if isinstance(value, str) else _KINDS[type(value)]
    return Problem(path, f"expected {expected}, got {kind}", ProblemCode.WRONG_TYPE)


def _no_finite_number(index: int, value: object) -> Problem:
    path = f"$.data[{index}]"
    if type(value) is not float:
        return _wrong_type(path, "a number", value)
    return Problem(path, "expected a number within the range of a double (±1.8e308)", ProblemCode.OUT_OF_RANGE)


def _read_values(raw: bytes, inside: json_scanner.Span, findings: Findings, take: Take) -> int:
    """Add what is wrong with the values `inside` a list, give them to `take`, and return how many there are."""
    count = 0
    for start, end in json_scanner.pieces(raw, *inside):
        piece = b"[%b]" % raw[start:end]
        try:
            numbers = _numbers_decoder.decode(piece)
        except msgspec.MsgspecError:
            values = _any_values(raw, start, piece)
            faults = (item for item in enumerate(values, count) if type(item[1]) is not float or not isfinite(item[1]))
            findings.add_all(_no_finite_number, faults)
            count += len(values)
            take([value for value in values if type(value) is float])
        else:
            if not numbers:
                raise _not_json(raw, "expected a value", start)
            count += len(numbers)
            take(numbers)
    return count


def _any_values(raw: bytes, start: int, piece: bytes) -> list[Any]:
    try:
        text = piece.decode()
    except UnicodeDecodeError as fault:
        raise _not_utf8(start - 1 + fault.start) from None
    if len(piece) > 2 * json_scanner.PIECE_BYTES:  # a long list or string stands in it: not to be read for nothing
        try:
            return [_value(bytes(value)) for value in _spans_decoder.decode(piece)]
        except msgspec.MsgspecError:
            pass  # it is no JSON, or has a surrogate, which the standard library takes
    try:
        values: list[Any] = _decoder.decode(text)
    except json.JSONDecodeError as fault:
        raise _not_json(raw, fault.msg, start - 1 + len(text[: fault.pos].encode())) from None
    return values


def _value(text: bytes) -> object:
    """Return the value that `text` is, without what is in it where it is a list or an object."""
    match text[:1]:
        case b"[":
            return []
        case b"{":
            return {}
    return _decoder.decode(text.decode())


def _check_syntax(raw: bytes, left_out: json_scanner.Span | None = None) -> None:
    """Raise `NotJson` where `raw`, but for the values `left_out` of a list, is no JSON text in UTF-8."""
    start, end = left_out or (len(raw), len(raw))
    text = raw if left_out is None else b"%b0%b" % (raw[:start], raw[end:])

    def place(byte: int) -> int:
        return byte if byte <= start else byte + end - start - 1

    try:
        text.decode()
    except UnicodeDecodeError as fault:
        raise _not_utf8(place(fault.start)) from None
    try:
        _syntax_decoder.decode(text)
    except msgspec.MsgspecError:
        try:
            _syntax_decoder.decode(_SURROGATE.sub(rb"\\u00", text))  # halves of pairs are JSON, if no text
        except msgspec.MsgspecError as fault:
            match = _MALFORMED.fullmatch(str(fault))
            what, byte = match.groups() if match else (str(fault), None)
            raise _not_json(raw, what, len(raw) if byte is None else place(int(byte))) from None


def _not_json(raw: bytes, what: str, byte: int) -> NotJson:
    line_start = raw.rfind(b"\n", 0, byte) + 1
    line = raw.count(b"\n", 0, line_start) + 1
    column = len(raw[line_start:byte].decode(errors="replace")) + 1
    return NotJson(f"not JSON: {what} at line {line:,}, column {column:,}")


def _not_utf8(byte: int) -> NotJson:
    return NotJson(f"not JSON: byte {byte:,} is not UTF-8")


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"not JSON: {name} is no JSON number")


_decoder = json.JSONDecoder(parse_int=float, parse_constant=_refuse_constant)
_syntax_decoder = msgspec.json.Decoder(msgspec.Raw)
_numbers_decoder = msgspec.json.Decoder(list[float])
_spans_decoder = msgspec.json.Decoder(list[msgspec.Raw])
