"""The thorough reader: reports every problem of a sample with its path.

The scanner finds the members of the object. The reader decodes only the members that Dropzone uses, and decodes
numbers in pieces. All other members must only be valid JSON. If the text is not JSON, the reader raises `NotJson` and
reports no problems. It therefore checks the whole text before it returns, unless the text is nested too deeply or has a
part that is too long.
"""

import codecs
import json
import re
from collections import Counter
from datetime import datetime, tzinfo
from math import inf, isfinite
from typing import Any, NoReturn

import orjson

from storage.documents import document_paths, labels, timestamps
from storage.documents.errors import NotJson
from storage.documents.labels import Labels
from storage.documents.problems import Problem, ProblemCode, echo
from storage.documents.validation import json_scanner, numbers, syntax
from storage.documents.validation.json_scanner import MAX_DEPTH, Span
from storage.documents.validation.validation_report import Append, ProblemCollector, ValidationReport

_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY, _LABELS, _MISSING = "time_stamp", "data", "idempotency_key", "labels", "missing"
_MEMBERS = frozenset({_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY, _LABELS, _MISSING})
_MAX_LABEL_BYTES = 12 * labels.MAX_VALUE_CHARACTERS + 2  # a character has up to two escapes of 6 bytes
_EMPTY_LIST = re.compile(rb"\[[ \t\r\n]*+\]")
_MAX_MEMBERS = 100_000
_MAX_FAULTS = 1_000_000
_MAX_LABEL_MEMBERS = 10  # of which problems are reported
_TYPES = {dict: "an object", list: "a list", bool: "a boolean", float: "a number", type(None): "null"}


def read(
    raw: bytes, default_time_zone: tzinfo | None, append: Append, *, skips_missing: bool = False
) -> ValidationReport:
    """Return the report on `raw` and pass its numbers to `append`.

    Nulls in `data` are left out if the sample asks for it, or if `skips_missing` is true.

    Raises `NotJson` if `raw` is not a JSON text in UTF-8.
    """
    try:
        return _read(raw, default_time_zone, append, skips_missing)
    except syntax.TooLong as error:
        too_long = Problem("$", str(error), ProblemCode.TOO_LONG)
        return ValidationReport(None, None, 0, problems=(too_long,))


def _read(raw: bytes, default_time_zone: tzinfo | None, append: Append, skips_missing: bool) -> ValidationReport:
    if not json_scanner.is_nested_within(raw, MAX_DEPTH):
        too_deep = Problem("$", f"expected at most {MAX_DEPTH} levels of nesting", ProblemCode.TOO_DEEP)
        return ValidationReport(None, None, 0, problems=(too_deep,))
    if raw.startswith(codecs.BOM_UTF8):
        raise NotJson("not JSON: the text starts with a byte order mark; send UTF-8 without it")
    start = json_scanner.skip_white_space(raw)
    if raw[start : start + 1] != b"{":
        syntax.check(raw)
        no_object = _wrong_type("$", "an object with `time_stamp` and `data`", _decode(raw, (start, len(raw))))
        return ValidationReport(None, None, 0, problems=(no_object,))

    key_counts, spans = _find_members(raw, start)
    contents = _list_contents(raw, spans.get(_DATA))
    syntax.check(raw, contents)
    members = {name: _decode(raw, span) for name, span in spans.items() if name != _DATA or contents is None}
    problems = ProblemCollector()
    problems.add_all(_duplicate, ((key, count) for key, count in key_counts.items() if count > 1))
    timestamp = _read_time_stamp(members, default_time_zone, problems)
    if contents is None:
        problems.add(_no_numbers(members))
    idempotency_key = _read_idempotency_key(members, problems)
    sample_labels = _read_labels(raw, spans.get(_LABELS), problems)
    skips_nulls = _read_missing(members, problems) or skips_missing
    count, nulls = (0, 0) if contents is None else _read_values(raw, contents, problems, append, skips_nulls)
    return ValidationReport(
        _storable_text(members.get(_TIME_STAMP)),
        timestamp,
        count,
        idempotency_key,
        problems.problems(),
        sample_labels,
        nulls,
    )


def _find_members(raw: bytes, start: int) -> tuple[Counter[str], dict[str, Span]]:
    """Return the number of occurrences of each key that Dropzone uses, and the span of its last value."""
    counts: Counter[str] = Counter()
    spans: dict[str, Span] = {}
    try:
        for number, (key_span, span) in enumerate(json_scanner.members(raw, start)):
            if number == _MAX_MEMBERS:
                raise syntax.TooLong(f"expected at most {_MAX_MEMBERS:,} members")
            if key_span[1] - key_span[0] > syntax.MAX_PIECE_BYTES:
                raise syntax.too_long()
            key = str(_decode(raw, key_span))
            if key in _MEMBERS:
                counts[key] += 1
                spans[key] = span
    except ValueError:
        syntax.check(raw)  # raises an error that says where the key is malformed
        raise
    return counts, spans


def _list_contents(raw: bytes, span: Span | None) -> Span | None:
    """Return the span of the values inside the list at `span`, or None if the span has no list or an empty list."""
    if span is None or raw[span[0]] != 0x5B or raw[span[1] - 1] != 0x5D:
        return None
    if span[1] - span[0] <= syntax.MAX_PIECE_BYTES and _EMPTY_LIST.fullmatch(raw, *span):
        return None
    return span[0] + 1, span[1] - 1


def _read_time_stamp(
    members: dict[str, object], default_time_zone: tzinfo | None, problems: ProblemCollector
) -> datetime | None:
    path = "$.time_stamp"
    if _TIME_STAMP not in members:
        problems.add(Problem(path, "expected a time stamp, but it is missing", ProblemCode.MISSING))
        return None
    text = members[_TIME_STAMP]
    if not isinstance(text, str):
        problems.add(_wrong_type(path, "a time stamp as a string", text))
        return None
    try:
        return timestamps.parse(text, default_time_zone)
    except timestamps.TimeStampError as error:
        problems.add(Problem(path, str(error), error.code))
        return None


def _storable_text(time_stamp: object) -> str | None:
    """Return the submitted time stamp, or None if it is not a printable string of at most 64 characters."""
    if not isinstance(time_stamp, str) or len(time_stamp) > timestamps.MAX_TIME_STAMP_CHARACTERS:
        return None
    return time_stamp if time_stamp.isprintable() else None


def _read_idempotency_key(members: dict[str, object], problems: ProblemCollector) -> str | None:
    key = members.get(_IDEMPOTENCY_KEY)
    if key is None or (isinstance(key, str) and document_paths.is_idempotency_key(key)):
        return key
    expected = f"1 to {document_paths.MAX_IDEMPOTENCY_KEY_CHARACTERS} printable characters as a string"
    problems.add(_wrong_type("$.idempotency_key", expected, key))
    return None


def _read_missing(members: dict[str, object], problems: ProblemCollector) -> bool:
    """Return whether the sample asks to skip nulls in `data`."""
    missing = members.get(_MISSING)
    if missing not in (None, "skip"):
        problems.add(_wrong_type("$.missing", "the string skip", missing))
    return missing == "skip"


def _read_labels(raw: bytes, span: Span | None, problems: ProblemCollector) -> Labels:
    """Add the problems of the labels. Return the labels, or no labels if one of them has a problem."""
    if span is None or raw[slice(*span)] == b"null":
        return {}
    if raw[span[0]] != 0x7B:
        problems.add(_wrong_type("$.labels", "an object of names and strings", _decode(raw, span)))
        return {}
    found: dict[str, str] = {}
    names: Counter[str] = Counter()
    faults: list[Problem] = []
    for number, (key_span, value_span) in enumerate(json_scanner.members(raw, span[0])):
        if number == _MAX_LABEL_MEMBERS:
            break
        name = str(_decode(raw, key_span)) if key_span[1] - key_span[0] <= _MAX_LABEL_BYTES else "a longer name"
        names[name] += 1
        if not labels.is_name(name):
            faults.append(labels.invalid_name(name))
            continue
        length = value_span[1] - value_span[0]
        if raw[value_span[0]] == 0x22 and length > _MAX_LABEL_BYTES:
            faults.append(labels.too_long(name, length - 2))
            continue
        value = _decode(raw, value_span)
        if isinstance(value, str):
            found[name] = value
        else:
            faults.append(_wrong_type(f"$.labels.{name}", "a string", value))
    faults += (
        _duplicate(f"labels.{name}", count) for name, count in names.items() if count > 1 and labels.is_name(name)
    )
    faults += labels.problems(found)
    if names.total() > labels.MAX_LABELS >= len(found):
        faults.append(labels.too_many())
    for fault in faults:
        problems.add(fault)
    return {} if faults else found


def _no_numbers(members: dict[str, object]) -> Problem:
    if _DATA not in members:
        return Problem("$.data", "expected a list of numbers, but it is missing", ProblemCode.MISSING)
    if isinstance(members[_DATA], list):
        return Problem("$.data", "expected at least one number, got an empty list", ProblemCode.EMPTY)
    return _wrong_type("$.data", "a list of numbers", members[_DATA])


def _duplicate(key: str, count: int) -> Problem:
    return Problem(f"$.{key}", f"expected the key once, got it {count:,} times", ProblemCode.DUPLICATE_KEY)


def _wrong_type(path: str, expected: str, value: object) -> Problem:
    actual = f"the string {echo(value)}" if isinstance(value, str) else _TYPES[type(value)]
    return Problem(path, f"expected {expected}, got {actual}", ProblemCode.WRONG_TYPE)


def _not_a_finite_number(index: int, value: object) -> Problem:
    path = f"$.data[{index}]"
    if type(value) is not float:
        return _wrong_type(path, "a number", value)
    return Problem(path, "expected a number within the range of a double (±1.8e308)", ProblemCode.OUT_OF_RANGE)


def _read_values(
    raw: bytes, contents: Span, problems: ProblemCollector, append: Append, skips_nulls: bool
) -> tuple[int, int]:
    """Add the problems of the values inside a list, and pass its numbers to `append`.

    Return the number of values, and the number of nulls that were skipped.
    """
    position = nulls = 0
    for start, end in json_scanner.pieces(raw, *contents):
        try:
            values: list[Any] = _decode_numbers(raw, start, end)
        except ValueError:
            decoded = _decode_values(raw, start, end)
            values = [value for value in decoded if value is not None] if skips_nulls else decoded
            nulls += len(decoded) - len(values)
            if skips_nulls and _count_numbers(values) == len(values):
                append(values)
            elif problems.is_full:
                problems.omit(len(values) - _count_numbers(values))
                if problems.omitted > _MAX_FAULTS:
                    raise syntax.TooLong(f"expected at most {_MAX_FAULTS:,} problems") from None
            else:
                faults = (
                    (index, value)
                    for index, value in enumerate(decoded, position)
                    if not (_is_number(value) or (skips_nulls and value is None))
                )
                problems.add_all(_not_a_finite_number, faults)
            position += len(decoded)
        else:
            if not values:
                raise syntax.not_json(raw, "expected a value", start)
            position += len(values)
            append(values)
    if nulls == position:
        problems.add(Problem("$.data", "expected at least one number, got only nulls", ProblemCode.EMPTY))
    return position - nulls, nulls


def _is_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value))


def _count_numbers(values: list[Any]) -> int:
    """Return how many of the values are finite numbers, three times as fast as with `_is_number`."""
    types = list(map(type, values))
    return types.count(int) + types.count(float) - values.count(inf) - values.count(-inf)


def _decode_numbers(raw: bytes, start: int, end: int) -> list[float]:
    if end - start > 2 * json_scanner.PIECE_BYTES:
        raise ValueError("a value is too long to be decoded in one step")
    return numbers.decode(b"[%b]" % raw[start:end])


def _decode_values(raw: bytes, start: int, end: int) -> list[Any]:
    """Return the values of a piece that does not contain only numbers. Raises `NotJson` if the piece is not JSON."""
    if end - start > 2 * json_scanner.PIECE_BYTES:
        return _decode_long_values(raw, start, end)
    piece = b"[%b]" % raw[start:end]
    values: list[Any]
    try:
        values = orjson.loads(piece)
    except orjson.JSONDecodeError:
        pass  # not JSON, or a number outside the range of doubles, or a lone surrogate
    else:
        return values
    try:
        text = piece.decode()
    except UnicodeDecodeError as error:
        raise syntax.not_utf8(start - 1 + error.start) from None
    try:
        values = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise syntax.not_json(raw, error.msg, start - 1 + len(text[: error.pos].encode())) from None
    return values


def _decode_long_values(raw: bytes, start: int, end: int) -> list[object]:
    """Return the values of a piece with a long value. A long list or object is not decoded, only checked."""
    try:
        syntax.check(b"[%b]" % raw[start:end])
    except NotJson:
        syntax.check(raw)  # raises an error that says where the text is malformed
        raise
    return [_decode(raw, span) for span in json_scanner.values(raw, start, end)]


def _decode(raw: bytes, span: Span) -> object:
    """Return the value at `span`. A list or an object is returned empty."""
    match raw[span[0] : span[0] + 1]:
        case b"[":
            return []
        case b"{":
            return {}
    return _decoder.decode(raw[slice(*span)].decode())


def _reject_constant(name: str) -> NoReturn:
    raise NotJson(f"not JSON: {name} is not a JSON number")


_decoder = json.JSONDecoder(parse_int=float, parse_constant=_reject_constant)
