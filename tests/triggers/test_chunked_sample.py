"""A sample in chunks is what it is as a whole, however it was cut, and whatever is wrong with it."""

import json
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from storage.documents import Header, InvalidSample, Sample
from storage.documents.validation import payload
from storage.documents.validation.payload import Payload
from triggers import chunked_sample

finite = st.floats(allow_nan=False, allow_infinity=False)


def _cut(raw: bytes, places: Iterable[int]) -> tuple[Header, list[bytes]]:
    """Return the header and the chunks of a sample that was cut at some places."""
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    cuts = [zstandard.compress(raw[start:end]) for start, end in pairwise(edges)]
    header = Sample.receive(raw, submitter="one").header
    return replace(header, raw=None, chunks=len(cuts)), cuts


def _outcome(read: "Payload | InvalidSample") -> object:
    return read.problems if isinstance(read, InvalidSample) else (read.timestamp, read.data)


def _of_chunks(header: Header, cuts: list[bytes]) -> object:
    try:
        return _outcome(chunked_sample.read(header, cuts))
    except InvalidSample as fault:
        return _outcome(fault)


def _of_whole(raw: bytes) -> object:
    try:
        return _outcome(payload.read(raw))
    except InvalidSample as fault:
        return _outcome(fault)


@given(st.lists(finite, min_size=1), st.lists(st.integers(0, 10_000), max_size=5), st.booleans())
def test_however_it_was_cut_the_numbers_are_the_same(values: list[float], places: list[int], last: bool) -> None:
    """In the middle of a number, of a key, or of nothing at all."""
    members = {"data": values, "time_stamp": "2019-05-01T06:00:00Z", "note": "]"}
    raw = json.dumps(members if last else dict(reversed(members.items()))).encode()

    assert _of_chunks(*_cut(raw, places)) == _of_whole(raw)


SAMPLES = {
    "a list within an object": b'{"more": {"data": [1, 2]}, "time_stamp": "2019-05-01T06:00:00Z", "data": [0]}',
    "an object within a string": b'{"note": "{\\"data\\": [1, 2]", "time_stamp": "2019-05-01T06:00:00Z", "data": [0]}',
    "an object behind": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, 4], "more": {"data": [1]}}',
    "two lists": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, 4], "data": [1]}',
    "a list in the list": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, [4], 5]}',
    "a string in the list": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, "]", 5]}',
    "too large a number": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, 1e999, 5]}',
    "no numbers": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [ ]}',
    "no list": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": 7}',
    "no time": b'{"time_stamp": "yesterday", "data": [1, 2]}',
    "another key spelled with escapes": b'{"time_stamp": "2019-05-01T06:00:00Z", "d\\u0061ta": [1], "data": [2, 3]}',
    "spaces": b' { "time_stamp":"2019-05-01T06:00:00Z" , "data"\n:\t[ 1 ,\r\n 2 ] } ',
}


@pytest.mark.parametrize("raw", SAMPLES.values(), ids=SAMPLES.keys())
def test_whatever_shape_it_has_it_is_read_as_the_whole_is(raw: bytes) -> None:
    """Cut at each place in turn."""
    expected = _of_whole(raw)

    for place in range(len(raw)):
        assert _of_chunks(*_cut(raw, [place])) == expected


@given(st.integers(0, 60), st.integers(1, 255))
@example(45, 1)
def test_a_changed_byte_is_found(place: int, change: int) -> None:
    """Numbers that are not those that were submitted are not returned, even where they can be read."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1.25, 22222]}'
    header, _ = _cut(raw, [20])
    changed = bytes(byte ^ (change if number == place else 0) for number, byte in enumerate(raw))

    with pytest.raises(InvalidSample) as fault:
        chunked_sample.read(header, [zstandard.compress(changed)])

    assert fault.value.problems[0].code == "INCOMPLETE"


def test_a_large_sample_is_never_there_as_a_whole() -> None:
    """Its numbers take less than half of the bytes that they are written with; nothing else is as large as a chunk."""
    values = np.random.default_rng(1).normal(size=200_000).tolist()
    raw = json.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": values}).encode()
    header, cuts = _cut(raw, range(100_000, len(raw), 100_000))

    tracemalloc.start()
    try:
        read = chunked_sample.read(header, cuts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert read.data.tolist() == values
    assert peak < 0.8 * len(raw)
