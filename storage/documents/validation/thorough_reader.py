"""The thorough reader: reports every problem of a sample with its path.

The scanner finds the members of the object. The reader decodes only the members that Dropzone uses, and reads numbers
in pieces (`value_reader.py`). All other members can contain any valid JSON. If the text is not JSON, the reader raises
`NotJson` and reports no problems. It therefore checks the whole text before it returns. If the text is nested too
deeply or has a part that is too long, it only checks that the whole text is UTF-8.
"""

import codecs
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, tzinfo

from storage.documents import document_paths, labels, timestamps
from storage.documents.errors import NotJson
from storage.documents.labels import Labels
from storage.documents.problems import Problem, ProblemCode
from storage.documents.validation import json_scanner, syntax
from storage.documents.validation.json_scanner import MAX_DEPTH, Span
from storage.documents.validation.validation_report import Append, ProblemCollector, ValidationReport
from storage.documents.validation.value_reader import decode, read_values, wrong_type

_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY, _LABELS, _MISSING = "time_stamp", "data", "idempotency_key", "labels", "missing"
_SAMPLE = "an object with `time_stamp` and `data`"
_MEMBERS = frozenset({_TIME_STAMP, _DATA, _IDEMPOTENCY_KEY, _LABELS, _MISSING})
_MAX_LABEL_BYTES = 12 * labels.MAX_VALUE_CHARACTERS + 2  # a character has up to two escapes of 6 bytes
_EMPTY_LIST = re.compile(rb"\[[ \t\r\n]*+\]")
_MAX_MEMBERS = 100_000
_MAX_LABEL_MEMBERS = 10  # the number of labels whose problems are reported


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
        return _unread(raw, Problem("$", str(error), ProblemCode.TOO_LONG))


def _read(raw: bytes, default_time_zone: tzinfo | None, append: Append, skips_missing: bool) -> ValidationReport:
    if not json_scanner.is_nested_within(raw, MAX_DEPTH):
        return _unread(raw, Problem("$", f"expected at most {MAX_DEPTH} levels of nesting", ProblemCode.TOO_DEEP))
    if raw.startswith(codecs.BOM_UTF8):
        raise NotJson("not JSON: the text starts with a byte order mark; send UTF-8 without it")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise NotJson("not JSON: the text is UTF-16; send UTF-8")
    start = json_scanner.skip_whitespace(raw)
    if start == len(raw):
        raise NotJson(f"not JSON: the body is empty; send {_SAMPLE}")
    if raw[start : start + 1] != b"{":
        syntax.check(raw)
        no_object = wrong_type("$", _SAMPLE, decode(raw, (start, len(raw))))
        if raw[start : start + 1] == b"[":
            hint = "send several samples with `submitMany`, or as NDJSON, one per line"
            no_object = replace(no_object, message=f"{no_object.message}; {hint}")
        return ValidationReport(None, None, 0, problems=(no_object,))

    key_counts, spans = _find_members(raw, start)
    contents = _list_contents(raw, spans.get(_DATA))
    syntax.check(raw, contents)
    members = {name: decode(raw, span) for name, span in spans.items() if name != _DATA or contents is None}
    problems = ProblemCollector()
    problems.add_all(_duplicate, ((key, count) for key, count in key_counts.items() if count > 1))
    timestamp = _read_time_stamp(members, default_time_zone, problems)
    if contents is None:
        problems.add(_no_numbers(members))
    idempotency_key = _read_idempotency_key(members, problems)
    sample_labels = _read_labels(raw, spans.get(_LABELS), problems)
    skips_nulls = _read_missing(members, problems) or skips_missing
    count, nulls = (0, 0) if contents is None else read_values(raw, contents, problems, append, skips_nulls)
    return ValidationReport(
        _storable_text(members.get(_TIME_STAMP)),
        timestamp,
        count,
        idempotency_key,
        problems.problems(),
        sample_labels,
        nulls,
    )


def _unread(raw: bytes, problem: Problem) -> ValidationReport:
    """Return the report on a text that is not read completely. Raises `NotJson` if it is not UTF-8."""
    syntax.check_utf8(raw)  # a small raw document is stored as a string
    return ValidationReport(None, None, 0, problems=(problem,))


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
            key = str(decode(raw, key_span))
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
        problems.add(wrong_type(path, "a time stamp as a string", text))
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
    problems.add(wrong_type("$.idempotency_key", expected, key))
    return None


def _read_missing(members: dict[str, object], problems: ProblemCollector) -> bool:
    """Return whether the sample asks to skip nulls in `data`."""
    missing = members.get(_MISSING)
    if missing not in (None, "skip"):
        problems.add(wrong_type("$.missing", "the string skip", missing))
    return missing == "skip"


def _read_labels(raw: bytes, span: Span | None, problems: ProblemCollector) -> Labels:
    """Add the problems of the labels. Return the labels, or no labels if one of them has a problem."""
    if span is None or raw[slice(*span)] == b"null":
        return {}
    if raw[span[0]] != 0x7B:
        problems.add(wrong_type("$.labels", "an object of names and strings", decode(raw, span)))
        return {}
    found: dict[str, str] = {}
    names: Counter[str] = Counter()
    found_problems: list[Problem] = []
    for number, (key_span, value_span) in enumerate(json_scanner.members(raw, span[0])):
        if number == _MAX_LABEL_MEMBERS:
            break
        name = str(decode(raw, key_span)) if key_span[1] - key_span[0] <= _MAX_LABEL_BYTES else "a longer name"
        names[name] += 1
        if not labels.is_name(name):
            found_problems.append(labels.invalid_name(name))
            continue
        length = value_span[1] - value_span[0]
        if raw[value_span[0]] == 0x22 and length > _MAX_LABEL_BYTES:
            found_problems.append(labels.too_long(name, f"{length - 2:,} bytes"))
            continue
        value = decode(raw, value_span)
        if isinstance(value, str):
            found[name] = value
        else:
            found_problems.append(wrong_type(f"$.labels.{name}", "a string", value))
    found_problems += (
        _duplicate(f"labels.{name}", count) for name, count in names.items() if count > 1 and labels.is_name(name)
    )
    found_problems += labels.problems(found)
    if names.total() > labels.MAX_LABELS >= len(found):
        found_problems.append(labels.too_many())
    for problem in found_problems:
        problems.add(problem)
    return {} if found_problems else found


def _no_numbers(members: dict[str, object]) -> Problem:
    if _DATA not in members:
        return Problem("$.data", "expected a list of numbers, but it is missing", ProblemCode.MISSING)
    if isinstance(members[_DATA], list):
        return Problem("$.data", "expected at least one number, got an empty list", ProblemCode.EMPTY)
    return wrong_type("$.data", "a list of numbers", members[_DATA])


def _duplicate(key: str, count: int) -> Problem:
    return Problem(f"$.{key}", f"expected the member once, got it {count:,} times", ProblemCode.DUPLICATE_KEY)
