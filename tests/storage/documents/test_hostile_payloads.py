"""What the two readers of a payload make of any text at all, and how long the worst of texts takes."""

import json
from collections import Counter
from contextlib import suppress
from math import isfinite
from time import process_time
from typing import Any, NoReturn

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from storage.documents import NotJson, json_scanner, payload
from storage.documents.problems import MAX_PROBLEMS, echo
from storage.documents.validation import MAX_DEPTH

TIME_STAMP = "2019-05-01T06:00:00-04:00"
SECONDS = 3.0
"""Far more than a linear reader needs for the texts below, far less than a quadratic one."""

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
keys = st.sampled_from(
    [
        "time_stamp",
        "data",
        "idempotency_key",
        "note",
        "d\\u0061ta",
        'x\\"data',
        "time\\u005fstamp",
        "\\u00b5",
        "\\ud800",
    ]
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Samples of all kinds: members in any order and number, with values that fit or do not, and large lists."""
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
        place = draw(st.integers(0, len(text)))
        text = (
            text[:place] + draw(st.sampled_from(["", '"', "\\", "]", "}", ",", "[", "\x01", "NaN"])) + text[place + 1 :]
        )
    return text


def oracle(raw: bytes) -> tuple[list[tuple[str, str]], list[float]]:
    """Return path and code of every problem, and the numbers, as the standard library's parser sees them."""
    pairs: Any = json.loads(raw.decode(), object_pairs_hook=Members, parse_int=float, parse_constant=refuse)
    if not isinstance(pairs, Members):
        return [("$", "WRONG_TYPE")], []
    problems = [
        (f"$.{echo(key)}", "DUPLICATE_KEY") for key, times in Counter(key for key, _ in pairs).items() if times > 1
    ]
    members = dict(pairs)
    stamp, data, key = (members.get(name) for name in ("time_stamp", "data", "idempotency_key"))
    if "time_stamp" not in members:
        problems.append(("$.time_stamp", "MISSING"))
    elif stamp != TIME_STAMP:
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


def refuse(constant: str) -> NoReturn:
    """Raise `ValueError`: NaN and infinities are the library's own, and no JSON."""
    raise ValueError(constant)


class Members(list[tuple[str, object]]):
    """The members of an object as they were written."""


@settings(max_examples=150)
@given(texts())
@example('{"d\\u0061ta":[0],"more":{"data":[1,2]},"time_stamp":"2019-05-01T06:00:00-04:00"}')
@example('{"data":[[1],"time_stamp":"2019-05-01T06:00:00-04:00"}')
@example('{"time_stamp":[1],"time_stamp":NaN}')
@example('{"data":[NaN],"time_stamp":"2019-05-01T06:00:00-04:00"}')
@example('{"data":[1},"time_stamp":"2019-05-01T06:00:00-04:00"]')
def test_the_readers_find_what_a_plain_parser_finds(text: str) -> None:
    """The same problems in the same order, the same numbers, the same texts refused."""
    raw = text.encode()
    try:
        problems, data = oracle(raw)
    except ValueError:
        with pytest.raises(NotJson):
            payload.inspect(raw)
        return

    found = payload.inspect(raw)

    assert [(problem.path, problem.code) for problem in found.problems][:MAX_PROBLEMS] == problems[:MAX_PROBLEMS]
    assert found.count == len(data)
    if not problems:
        assert list(payload.read(raw).data) == data


@settings(max_examples=30)
@given(st.lists(values, min_size=1, max_size=40), st.integers(5_000, 9_000))
def test_pieces_are_cut_between_values(few: list[str], times: int) -> None:
    """Whatever brackets, quotes and commas are in them."""
    text = ",".join(few * (1 + times // len(few)))
    assume(len(text) > json_scanner.PIECE_BYTES)
    raw = text.encode()

    pieces = [json.loads(b"[%b]" % raw[start:end]) for start, end in json_scanner.pieces(raw, 0, len(raw))]

    assert len(pieces) > 1
    assert sum(map(len, pieces)) == len(json.loads(f"[{text}]"))


HOSTILE = {
    "an endless string of escapes": b"[]" * 65 + b'"' + b'\\"' * 500_000,
    "the same, cut within an escape": b"[]" * 65 + b'"' + b'\\"' * 500_000 + b"\\",
    "backslashes": b'{"a":"' + b"\\" * 1_000_000,
    "brackets": b"[]" * 500_000,
    "quotes": b'"' * 1_000_000,
    "open lists as values": b'{"data":[' + b"[]," * 300_000 + b'{"a":[1]}]}',
    "a list of lists of numbers": b'{"data":[[' + b"1," * 500_000 + b"1]]}",
    "many members": b"{" + b'"a":"b",' * 100_000 + b'"data":[1]}',
    "only faults": b'{"data":[' + b"true," * 300_000 + b"true]}",
    "objects never closed": b'{"a":{},' * 60 + b'"b":"' + b"[" * 1_000_000,
    "surrogates": b'{"a":"' + b"\\ud800" * 100_000 + b'"}',
    "keys of escapes": b"{" + b'"\\"\\"":1,' * 100_000 + b'"data":[1]}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_takes_long(name: str) -> None:
    """A megabyte is read in time that grows with its length alone."""
    start = process_time()
    with suppress(NotJson):
        payload.inspect(HOSTILE[name])

    assert process_time() - start < SECONDS


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
def test_a_large_sample_that_is_not_plain_costs_little_more(opening: str, last: str, paths: list[str]) -> None:
    """Only the piece with the fault is looked at value by value."""
    rest = f'"time_stamp":"{TIME_STAMP}","data":[' + "0.25," * 1_000_000

    start = process_time()
    payload.inspect(f"{{{rest}1]}}".encode())
    between = process_time()
    found = payload.inspect(f"{opening}{rest}{last}]}}".encode())
    end = process_time()

    assert [problem.path for problem in found.problems] == paths
    assert end - between < 5 * (between - start)


@pytest.mark.parametrize("value", [b"[1]", b'{"a":1}', b"[[1],{}]", b'["]"]'])
def test_a_member_that_is_short_costs_the_same_whatever_it_is(value: bytes) -> None:
    """A million of them, in a request that is small when it is compressed, would keep others from being read."""
    start = process_time()
    payload.inspect(b"{" + b'"data":"x",' * 50_000 + b'"data":[1]}')
    between = process_time()
    payload.inspect(b"{" + b'"data":%b,' % value * 50_000 + b'"data":[1]}')
    end = process_time()

    assert end - between < 2 * (between - start)


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_depth_is_counted_over_many_windows(depth: int) -> None:
    """In a text that is looked over in windows, whatever stands between the brackets."""
    filler = b'"[[[[\\"[[", ' * 9_000
    lists = b"[" * (depth - 1) + filler + b"1" + b"]" * (depth - 1)
    raw = b'{"time_stamp":"%s","data":[1.5],"more":%b}' % (TIME_STAMP.encode(), lists)

    problems = payload.inspect(raw).problems

    assert [problem.code for problem in problems] == ([] if depth <= MAX_DEPTH else ["TOO_DEEP"])
