"""Submitted bytes become a time stamp and numbers, or problems."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.documents import InvalidSample, NotJson, payload
from storage.documents.problems import MAX_PROBLEMS, ProblemCode

TIME_STAMP = "2019-05-01T06:00:00-04:00"
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


def sample(**members: object) -> bytes:
    return json.dumps({"time_stamp": TIME_STAMP, "data": [1.5]} | members).encode()


@given(st.lists(finite, min_size=1))
def test_every_number_round_trips(data: list[float]) -> None:
    """To the last bit, the sign of zero included."""
    read = payload.read(sample(data=data))

    assert list(map(float.hex, read.data)) == list(map(float.hex, data))


@given(st.integers(min_value=-(10**308), max_value=10**308))
def test_a_whole_number_of_any_length_is_the_double_next_to_it(number: int) -> None:
    """Integers have no limit in JSON; as measurements they are doubles."""
    assert list(payload.read(sample(data=[number])).data) == [float(number)]


@given(st.dictionaries(st.text(), json_values), st.booleans())
def test_further_members_are_nobodys_business(members: dict[str, object], ascii_only: bool) -> None:
    """A publisher may send whatever else belongs to the sample, in any spelling."""
    raw = json.dumps(members | {"time_stamp": TIME_STAMP, "data": [1.5]}, ensure_ascii=ascii_only).encode(
        errors="surrogatepass"
    )
    try:
        raw.decode()
    except UnicodeDecodeError:
        with pytest.raises(NotJson):
            payload.inspect(raw)
    else:
        assert list(payload.read(raw).data) == [1.5]


@given(st.one_of(json_values.map(json.dumps).map(str.encode), st.binary()))
def test_no_bytes_at_all_make_it_fail_in_another_way(raw: bytes) -> None:
    """Whatever comes is a payload, a list of problems, or no JSON."""
    try:
        inspection = payload.inspect(raw)
    except NotJson:
        with pytest.raises(ValueError):  # noqa: PT011 - any of the kinds that the standard library has
            json.loads(raw.decode(), parse_constant=float.fromhex)
    else:
        if inspection.problems:
            with pytest.raises(InvalidSample):
                payload.read(raw)
        else:
            assert len(payload.read(raw).data) == inspection.count > 0


def test_all_faults_are_named_not_just_the_first() -> None:
    """A publisher mends a sample once, not once for each fault."""
    problems = payload.inspect(b'{"data": [1, true, "x"], "time_stamp": 5}').problems

    assert [problem.path for problem in problems] == ["$.time_stamp", "$.data[1]", "$.data[2]"]


def test_a_million_faults_are_counted_not_listed() -> None:
    """An answer stays short whatever was sent."""
    problems = payload.inspect(sample(data=[None] * 100_000)).problems

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].code is ProblemCode.MORE_PROBLEMS
    assert problems[-1].message == "there are 99,980 more problems"


def test_reading_an_invalid_sample_raises_its_problems() -> None:
    """A function that reads a stored sample gets an error it can keep."""
    with pytest.raises(InvalidSample, match=r"expected at least one number - at `\$\.data`"):
        payload.read(sample(data=[]))


def test_a_default_time_zone_stands_in_for_a_missing_offset_only() -> None:
    """An offset that is there wins."""
    zone = ZoneInfo("Europe/Zurich")

    without = payload.read(sample(time_stamp="2019-05-01T06:00:00"), zone)
    with_one = payload.read(sample(), zone)

    assert without.timestamp == datetime(2019, 5, 1, 4, tzinfo=UTC)
    assert with_one.timestamp == datetime(2019, 5, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("depth", [63, 64, 65, 2_000, 500_000])
def test_nesting_is_bounded_at_the_same_depth_everywhere(depth: int) -> None:
    """However deep the caller's own stack is, and without a crash at any depth."""
    raw = b'{"time_stamp": "%s", "data": [1.5], "more": %s1%s}'
    raw %= (TIME_STAMP.encode(), b"[" * (depth - 1), b"]" * (depth - 1))

    problems = payload.inspect(raw).problems

    assert [problem.code for problem in problems] == ([] if depth <= 64 else [ProblemCode.TOO_DEEP])


def test_brackets_in_strings_do_not_nest() -> None:
    """Only structure counts."""
    assert list(payload.read(sample(note='[{"' * 1_000)).data) == [1.5]


numbers = st.lists(finite | st.integers(-(2**70), 2**70), min_size=1, max_size=50)


@settings(max_examples=25)
@given(numbers, st.sampled_from([", ", ",", " ,\n"]), st.integers(0, 3))
def test_a_large_sample_is_read_as_a_small_one(data: list[float], comma: str, where: int) -> None:
    """Cut into pieces at commas; wherever the other members stand."""
    text = comma.join(map(json.dumps, data * (30_000 // len(data))))
    members = [f'"time_stamp": "{TIME_STAMP}"', f'"data" : [{text}]', '"note": "[1,2]"', '"more": [1, [2]]']
    raw = f"{{{','.join(members[where:] + members[:where])}}}".encode()

    read = payload.read(raw)

    assert list(read.data) == [float(value) for value in data * (30_000 // len(data))]
    assert payload.inspect(raw).count == len(read.data)


@pytest.mark.parametrize(
    ("fault", "path"),
    [("true", "$.data[60000]"), ("[1]", "$.data[60000]"), ('"1"', "$.data[60000]"), ("1e999", "$.data[60000]")],
)
def test_a_fault_in_a_large_sample_is_found(fault: str, path: str) -> None:
    """One bad value among many, with its path."""
    text = "0.25," * 60_000 + fault + ",0.25" * 60_000

    inspection = payload.inspect(f'{{"time_stamp": "{TIME_STAMP}", "data": [{text}]}}'.encode())

    assert [problem.path for problem in inspection.problems] == [path]
    assert inspection.count == 120_001


@pytest.mark.parametrize("text", ["0.25," * 60_000, "0.25,,0.25" + ",0.25" * 60_000, "0.25 " * 60_000])
def test_a_large_text_that_is_no_json_is_none_in_pieces_either(text: str) -> None:
    """A comma too many at a cut would be read over."""
    with pytest.raises(NotJson):
        payload.inspect(f'{{"time_stamp": "{TIME_STAMP}", "data": [{text}]}}'.encode())


@pytest.mark.parametrize("key", [1, "", "x" * 256, "\n", None, []])
def test_an_idempotency_key_in_the_sample_must_be_usable(key: object) -> None:
    """Null is none."""
    problems = payload.inspect(sample(idempotency_key=key)).problems

    assert [problem.path for problem in problems] == ([] if key is None else ["$.idempotency_key"])
