"""Both readers agree with a plain parser on any text, and their time grows linearly with its length."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from math import isfinite
from time import thread_time
from typing import Any, NoReturn

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from storage.documents import NotJson
from storage.documents.problems import MAX_PROBLEMS, ProblemCode
from storage.documents.validation import json_scanner, payload, value_reader
from storage.documents.validation.json_scanner import MAX_DEPTH
from storage.documents.validation.syntax import MAX_PIECE_BYTES

TIME_STAMP = "2019-05-01T06:00:00-04:00"
WITHOUT_COLON = TIME_STAMP[:-3] + "00"
"""The only other valid time stamp that `texts` can make of it, by removing a character."""
MAX_CPU_SECONDS = 3.0
"""Far more than a linear reader needs for the texts below, and far less than a quadratic one."""
USED_KEYS = ("time_stamp", "data", "idempotency_key")

scalars = st.sampled_from(
    ["1", "-0.5", "1e999", "9" * 400, "true", "null", '"a"', '"]"', '"\\"],["', '"\\\\"', '"\\ud800"', '"[{"', '"µ"']
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{' ,'.join(items)}]")
        | st.lists(inner, max_size=3).map(lambda items: "{" + ",".join(f'"data":{item}' for item in items) + "}")
    ),
    max_leaves=5,
)
keys = st.sampled_from([*USED_KEYS, "note", "d\\u0061ta", 'x\\"data', "time\\u005fstamp", "\\u00b5", "\\ud800"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw a sample with members in any order and number, valid and invalid values, and large lists."""
    numbers = st.lists(values, max_size=6)
    members = [f'"time_stamp":"{TIME_STAMP}"'] if draw(st.booleans()) else []
    for key in draw(st.lists(keys, max_size=5)):
        value = draw(values)
        if draw(st.booleans()):
            few, between = draw(numbers), "0.25," * draw(st.sampled_from([0, 0, 0, 0, 3, 15_000]))
            value = "[" + between + ("," + between).join([*few, "1"]) + "]"
        members.append(f'"{key}" : {value}')
    text = "{" + ",".join(draw(st.permutations(members))) + "}"
    if draw(st.integers(0, 4)) == 0:
        index = draw(st.integers(0, len(text)))
        replacement = draw(st.sampled_from(["", '"', "\\", "]", "}", ",", "[", "\x01", "NaN"]))
        text = text[:index] + replacement + text[index + 1 :]
    return text


def oracle(raw: bytes) -> tuple[list[tuple[str, str]], list[float]]:
    """Return the path and the code of every problem, and the numbers, found with the standard library's parser."""
    pairs: Any = json.loads(raw.decode(), object_pairs_hook=Members, parse_int=float, parse_constant=reject_constant)
    if not isinstance(pairs, Members):
        return [("$", "WRONG_TYPE")], []
    counts = Counter(key for key, _ in pairs if key in USED_KEYS)
    problems = [(f"$.{key}", "DUPLICATE_KEY") for key, count in counts.items() if count > 1]
    members = dict(pairs)
    stamp, data, key = (members.get(name) for name in USED_KEYS)
    if "time_stamp" not in members:
        problems.append(("$.time_stamp", "MISSING"))
    elif stamp not in (TIME_STAMP, WITHOUT_COLON):
        problems.append(("$.time_stamp", "INVALID_TIME_STAMP" if isinstance(stamp, str) else "WRONG_TYPE"))
    if "data" not in members:
        problems.append(("$.data", "MISSING"))
    elif type(data) is not list:
        problems.append(("$.data", "WRONG_TYPE"))
    elif not data:
        problems.append(("$.data", "EMPTY"))
    if not (key is None or (isinstance(key, str) and key.isprintable())):
        problems.append(("$.idempotency_key", "WRONG_TYPE"))
    data = data if type(data) is list else []
    for index, value in enumerate(data):
        if type(value) is not float:
            problems.append((f"$.data[{index}]", "WRONG_TYPE"))
        elif not isfinite(value):
            problems.append((f"$.data[{index}]", "OUT_OF_RANGE"))
    return problems, data


def reject_constant(constant: str) -> NoReturn:
    """Raise `ValueError`: the standard library accepts NaN and infinities, which are not JSON."""
    raise ValueError(constant)


class Members(list[tuple[str, object]]):
    """The members of an object, with duplicates."""


@settings(max_examples=150)
@given(texts())
@example('{"d\\u0061ta":[0],"more":{"data":[1,2]},"time_stamp":"2019-05-01T06:00:00-04:00"}')
@example('{"data":[[1],"time_stamp":"2019-05-01T06:00:00-04:00"}')
@example('{"time_stamp":[1],"time_stamp":NaN}')
@example('{"time_stamp":"2019-05-01T06:00:00-0400"}')
@example('{"data":[NaN],"time_stamp":"2019-05-01T06:00:00-04:00"}')
@example('{"data":[1},"time_stamp":"2019-05-01T06:00:00-04:00"]')
@example('{"time_stamp":"2019-05-01T06:00:00-04:00","note":1,"data":[1],"note":1}')
@example('{"time_stamp":"2019-05-01T06:00:00-04:00","d\\u0061ta":[1],"note":1,"data":[1],"note":1}')
@example('{"a\\"data":["]"],"time_stamp":"x","time_stamp":"2019-05-01T06:00:00-04:00","data":[1]}')
def test_the_readers_agree_with_a_plain_parser(text: str) -> None:
    """They report the same problems in the same order, return the same numbers and reject the same texts."""
    raw = text.encode()
    try:
        problems, data = oracle(raw)
    except ValueError:
        try:
            report = payload.validate(raw)
        except NotJson:
            return
        # The length of a string is checked before its end.
        assert [problem.code for problem in report.problems] == [ProblemCode.TOO_LONG]
        assert max(map(len, re.sub(rb"\\.", b"", raw, flags=re.DOTALL).split(b'"'))) > MAX_PIECE_BYTES
        return

    report = payload.validate(raw)

    assert [(problem.path, problem.code) for problem in report.problems][:MAX_PROBLEMS] == problems[:MAX_PROBLEMS]
    assert report.count == len(data)
    if not problems:
        assert list(payload.read(raw).data) == data


@settings(max_examples=30)
@given(st.lists(values, min_size=1, max_size=40), st.integers(5_000, 9_000))
def test_pieces_are_cut_between_values(few: list[str], times: int) -> None:
    """Brackets, quotes and commas inside values do not matter."""
    text = ",".join(few * (1 + times // len(few)))
    assume(len(text) > json_scanner.PIECE_BYTES)
    raw = text.encode()

    pieces = [json.loads(b"[%b]" % raw[start:end]) for start, end in json_scanner.pieces(raw, 0, len(raw))]

    assert len(pieces) > 1
    assert sum(map(len, pieces)) == len(json.loads(f"[{text}]"))


MEMBERS = {
    "a member that is not read": ('"note":1', []),
    "the time stamp": (f'"time_stamp":"{TIME_STAMP}"', [("$.time_stamp", "DUPLICATE_KEY")]),
    "the data": ('"data":[1]', [("$.data", "DUPLICATE_KEY")]),
    "the idempotency key": ('"idempotency_key":"a"', [("$.idempotency_key", "DUPLICATE_KEY")]),
}


@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "an escape for the thorough reader"])
@pytest.mark.parametrize("numbers", [1, 100_000], ids=["small", "large"])
@pytest.mark.parametrize("name", MEMBERS)
def test_only_a_duplicate_of_a_member_that_is_read_is_a_problem(name: str, numbers: int, escaped: bool) -> None:
    """The size of the sample and the reader that decides do not matter."""
    member, problems = MEMBERS[name]
    own = [f'"time_stamp":"{TIME_STAMP}"', '"data":[' + "0.5," * numbers + "1]"]
    escape = ['"unit":"\\u0061"'] if escaped else []

    report = payload.validate(f"{{{','.join([*escape, member, *own, member])}}}".encode())

    assert [(problem.path, problem.code) for problem in report.problems] == problems


def test_a_value_that_is_the_name_of_the_data_hides_no_duplicate() -> None:
    """The typed reader searches for duplicates outside of the data only. It must not take this value for their key."""
    raw = b'{"time_stamp":"%b","missing":"skip","note":"data","missing":"skip","d\\u0061ta":[1]}' % TIME_STAMP.encode()

    report = payload.validate(raw)

    assert [(problem.path, problem.code) for problem in report.problems] == [("$.missing", "DUPLICATE_KEY")]


TOO_LONG = {
    "members": b"{" + b'"note":1,' * 100_001 + b'"data":[1]}',
    "problems": b'{"data":[' + b"true," * 1_100_000 + b"1]}",
    "a string": b'{"note":"' + b"x" * 400_000 + b'","data":[1]}',
    "a string of surrogates": b'{"note":"' + b"\\ud800" * 1_000_000 + b'","data":[1]}',
    "a time stamp": b'{"time_stamp":"' + b"x" * 400_000 + b'"}',
    "a key": b'{"' + b"x" * 400_000 + b'":1,"data":[1]}',
    "a string among the numbers": b'{"data":[1,"' + b"x" * 400_000 + b'"]}',
    "a number": b'{"data":[1,' + b"1" * 400_000 + b"]}",
    "whitespace": b'{"data":[1,' + b" " * 400_000 + b"1]}",
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_part_that_is_too_long_is_the_only_problem(name: str) -> None:
    """Reading it in one step would block the interpreter. The sample is stored nevertheless."""
    assert [problem.code for problem in payload.validate(TOO_LONG[name]).problems] == ["TOO_LONG"]


HOSTILE = {
    "an endless string of escapes": b"[]" * 65 + b'"' + b'\\"' * 500_000,
    "the same, cut within an escape": b"[]" * 65 + b'"' + b'\\"' * 500_000 + b"\\",
    "backslashes": b'{"a":"' + b"\\" * 1_000_000,
    "brackets": b"[]" * 500_000,
    "quotes": b'"' * 1_000_000,
    "open lists as values": b'{"data":[' + b"[]," * 300_000 + b'{"a":[1]}]}',
    "a list of lists of numbers": b'{"data":[[' + b"1," * 500_000 + b"1]]}",
    "many members": b"{" + b'"a":"b",' * 100_000 + b'"data":[1]}',
    "many labels": b'{"time_stamp":"%b","data":[1],"labels":{%b}}'
    % (TIME_STAMP.encode(), b",".join(b'"a%d":"b"' % number for number in range(60_000))),
    "only faults": b'{"data":[' + b"true," * 300_000 + b"true]}",
    "objects never closed": b'{"a":{},' * 60 + b'"b":"' + b"[" * 1_000_000,
    "surrogates": b'{"a":"' + b"\\ud800" * 100_000 + b'"}',
    "keys of escapes": b"{" + b'"\\"\\"":1,' * 100_000 + b'"data":[1]}',
    "numbers close to the largest double": b'{"data":[' + b"1e308," * 1_000_000 + b"1]}",
    "the same with a fault in each piece": b'{"data":[' + (b"1e308," * 9_000 + b"true,") * 100 + b"1]}",
    "numbers close to the smallest double": b'{"data":[' + b"5e-324," * 1_000_000 + b"1]}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_time_for_a_hostile_text_is_linear(name: str) -> None:
    """A quadratic reader would need minutes of CPU time for a megabyte."""
    start = thread_time()
    with suppress(NotJson):
        payload.validate(HOSTILE[name])

    assert thread_time() - start < MAX_CPU_SECONDS


@pytest.mark.parametrize(
    ("opening", "last", "paths"),
    [
        ('{"unit":"\\u00b5",', "1", []),
        ('{"unit":"\\u0061",', "1", []),
        ("{", "true", ["$.data[1000000]"]),
        ("{", '"]"', ["$.data[1000000]"]),
    ],
    ids=["an escape", "an escaped letter", "one fault", "a bracket in a string"],
)
def test_only_the_piece_with_a_fault_is_decoded_value_by_value(
    monkeypatch: pytest.MonkeyPatch, opening: str, last: str, paths: list[str]
) -> None:
    """All other pieces of a large sample are decoded as numbers, so one fault costs little."""
    decode_values = value_reader._decode_values
    decoded: list[int] = []

    def count(raw: bytes, start: int, end: int) -> list[Any]:
        decoded.append(end - start)
        return decode_values(raw, start, end)

    monkeypatch.setattr(value_reader, "_decode_values", count)
    text = f'{opening}"time_stamp":"{TIME_STAMP}","data":[' + "0.25," * 1_000_000 + f"{last}]}}"

    report = payload.validate(text.encode())

    assert [problem.path for problem in report.problems] == paths
    assert report.count == 1_000_001
    assert len(decoded) == len(paths)
    assert sum(decoded) <= json_scanner.PIECE_BYTES + 2


@pytest.mark.parametrize("value", [b'"x"', b"[1]", b'{"a":1}', b"[[1],{}]", b'["]"]'])
def test_short_values_are_skipped_without_windows(monkeypatch: pytest.MonkeyPatch, value: bytes) -> None:
    """A window for each of a million short members would block other requests."""
    windows = json_scanner.without_strings
    calls = 0

    def count(raw: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        nonlocal calls
        calls += 1
        return windows(raw, start, end)

    monkeypatch.setattr(json_scanner, "without_strings", count)

    report = payload.validate(b"{" + b'"data":%b,' % value * 50_000 + b'"data":[1]}')

    assert [problem.code for problem in report.problems] == ["DUPLICATE_KEY", "MISSING"]
    assert calls <= 4, "each reader checks the depth of the whole text once, and the syntax of two parts"


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_depth_is_counted_across_windows(depth: int) -> None:
    """Strings between the brackets do not change the depth."""
    filler = b'"[[[[\\"[[", ' * 9_000
    lists = b"[" * (depth - 1) + filler + b"1" + b"]" * (depth - 1)
    raw = b'{"time_stamp":"%s","data":[1.5],"more":%b}' % (TIME_STAMP.encode(), lists)

    problems = payload.validate(raw).problems

    assert [problem.code for problem in problems] == ([] if depth <= MAX_DEPTH else ["TOO_DEEP"])
