"""A chunked sample has the same payload and the same problems as the assembled one, for any cut."""

import json
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from storage.documents import Header, InvalidSample
from storage.documents.validation import payload
from storage.documents.validation.payload import Payload
from tests.received import received_sample
from triggers import chunked_sample

finite = st.floats(allow_nan=False, allow_infinity=False)


def cut(raw: bytes, offsets: Iterable[int]) -> tuple[Header, list[bytes]]:
    """Return the header and the chunks of a sample that is cut at some offsets."""
    edges = [0, *sorted(offset % (len(raw) + 1) for offset in offsets), len(raw)]
    chunks = [zstandard.compress(raw[start:end]) for start, end in pairwise(edges)]
    header = received_sample(raw, submitter="one").header
    return replace(header, raw=None, chunks=len(chunks)), chunks


def outcome(read: "Payload | InvalidSample") -> object:
    """Return a payload or problems in a form that can be compared."""
    return read.problems if isinstance(read, InvalidSample) else (read.timestamp, read.data)


def chunked_outcome(header: Header, chunks: list[bytes]) -> object:
    """Return the outcome of reading chunks."""
    try:
        return outcome(chunked_sample.read(header, chunks))
    except InvalidSample as error:
        return outcome(error)


def assembled_outcome(raw: bytes) -> object:
    """Return the outcome of reading the whole sample."""
    try:
        return outcome(payload.read(raw))
    except InvalidSample as error:
        return outcome(error)


@given(st.lists(finite, min_size=1), st.lists(st.integers(0, 10_000), max_size=5), st.booleans())
def test_any_cut_has_the_same_numbers(values: list[float], offsets: list[int], data_is_first: bool) -> None:
    """A cut can be inside a number or a key, and a chunk can be empty."""
    members = {"data": values, "time_stamp": "2019-05-01T06:00:00Z", "note": "]"}
    raw = json.dumps(members if data_is_first else dict(reversed(members.items()))).encode()

    assert chunked_outcome(*cut(raw, offsets)) == assembled_outcome(raw)


SAMPLES = {
    "a list within an object": b'{"more": {"data": [1, 2]}, "time_stamp": "2019-05-01T06:00:00Z", "data": [0]}',
    "an object within a string": b'{"note": "{\\"data\\": [1, 2]", "time_stamp": "2019-05-01T06:00:00Z", "data": [0]}',
    "an object after the list": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, 4], "more": {"data": [1]}}',
    "two lists": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, 4], "data": [1]}',
    "a list within the list": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, [4], 5]}',
    "a string within the list": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, "]", 5]}',
    "a number out of range": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, 1e999, 5]}',
    "an empty list": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [ ]}',
    "a number in place of the list": b'{"time_stamp": "2019-05-01T06:00:00Z", "data": 7}',
    "an invalid time stamp": b'{"time_stamp": "yesterday", "data": [1, 2]}',
    "a key with escapes": b'{"time_stamp": "2019-05-01T06:00:00Z", "d\\u0061ta": [1], "data": [2, 3]}',
    "whitespace": b' { "time_stamp":"2019-05-01T06:00:00Z" , "data"\n:\t[ 1 ,\r\n 2 ] } ',
}


@pytest.mark.parametrize("raw", SAMPLES.values(), ids=SAMPLES.keys())
def test_unusual_samples_have_the_same_outcome(raw: bytes) -> None:
    """Each is cut at each offset in turn."""
    expected = assembled_outcome(raw)

    for offset in range(len(raw)):
        assert chunked_outcome(*cut(raw, [offset])) == expected


@pytest.mark.parametrize("offset", [0, 70_000, 140_000])
def test_no_number_is_lost_beside_long_white_space(offset: int) -> None:
    """White space is read together with its number, so it can be too long for one step."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b %b1000]}' % (b"1," * 1_000, b" " * 140_000)

    read = chunked_sample.read(*cut(raw, [offset]))

    assert list(read.data) == [1.0] * 1_000 + [1000.0]


@given(st.integers(0, 60), st.integers(1, 255))
@example(45, 1)
def test_a_changed_byte_is_detected(offset: int, change: int) -> None:
    """Numbers that differ from the submitted ones are not returned, even if they are valid."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1.25, 22222]}'
    header, _ = cut(raw, [20])
    changed = bytes(byte ^ (change if number == offset else 0) for number, byte in enumerate(raw))

    with pytest.raises(InvalidSample) as error:
        chunked_sample.read(header, [zstandard.compress(changed)])

    assert error.value.problems[0].code == "INCOMPLETE"


def test_the_raw_document_is_never_assembled() -> None:
    """The numbers take less than half of the bytes of their text, and chunks are small."""
    values = np.random.default_rng(1).normal(size=200_000).tolist()
    raw = json.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": values}).encode()
    header, chunks = cut(raw, range(100_000, len(raw), 100_000))

    tracemalloc.start()
    try:
        read = chunked_sample.read(header, chunks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert read.data.tolist() == values
    assert peak < 0.8 * len(raw)
