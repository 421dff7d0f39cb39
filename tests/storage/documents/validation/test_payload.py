"""The bytes of a sample become a time stamp and numbers, or problems."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import NoReturn
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from storage.documents import InvalidSample, NotJson, timestamps
from storage.documents.problems import MAX_PROBLEMS, ProblemCode
from storage.documents.validation import json_scanner, payload, thorough_reader
from storage.documents.validation.validation_report import ValidationReport

TIME_STAMP = "2019-05-01T06:00:00-04:00"
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


names = st.text().filter(lambda name: name not in {"time_stamp", "data", "idempotency_key", "labels", "missing"})
"""Names that the readers ignore. Hypothesis also draws strings of the code under test."""


def sample(**members: object) -> bytes:
    """Return a sample with one number and `members`."""
    return json.dumps({"time_stamp": TIME_STAMP, "data": [1.5]} | members).encode()


def reject_constant(constant: str) -> NoReturn:
    """Raise `ValueError`: the standard library accepts NaN and infinities, which are not JSON."""
    raise ValueError(constant)


@given(st.lists(finite, min_size=1))
def test_every_number_round_trips(data: list[float]) -> None:
    """Every bit is preserved, including the sign of zero."""
    read = payload.read(sample(data=data))

    assert list(map(float.hex, read.data)) == list(map(float.hex, data))


@given(st.integers(min_value=-(10**308), max_value=10**308))
def test_an_integer_of_any_length_is_rounded_to_the_nearest_double(number: int) -> None:
    """JSON does not limit integers."""
    assert list(payload.read(sample(data=[number])).data) == [float(number)]


@given(st.dictionaries(names, json_values), st.booleans())
def test_further_members_are_ignored(members: dict[str, object], ascii_only: bool) -> None:
    """A publisher may add any members, with or without escapes."""
    raw = json.dumps(members | {"time_stamp": TIME_STAMP, "data": [1.5]}, ensure_ascii=ascii_only).encode(
        errors="surrogatepass"
    )
    try:
        raw.decode()
    except UnicodeDecodeError:
        with pytest.raises(NotJson):
            payload.validate(raw)
    else:
        assert list(payload.read(raw).data) == [1.5]


@given(st.one_of(json_values.map(json.dumps).map(str.encode), st.binary()))
@example(b"NaN")
def test_any_bytes_are_a_payload_or_problems_or_not_json(raw: bytes) -> None:
    """No other exception is raised."""
    try:
        report = payload.validate(raw)
    except NotJson:
        with pytest.raises(ValueError):  # noqa: PT011 - the standard library raises several subclasses
            json.loads(raw.decode(), parse_constant=reject_constant)
    else:
        if report.problems:
            with pytest.raises(InvalidSample):
                payload.read(raw)
        else:
            assert len(payload.read(raw).data) == report.count > 0


def test_all_problems_are_reported() -> None:
    """A publisher can correct a sample in one step."""
    problems = payload.validate(b'{"data": [1, true, "x"], "time_stamp": 5}').problems

    assert [problem.path for problem in problems] == ["$.time_stamp", "$.data[1]", "$.data[2]"]


def test_further_problems_are_counted_not_listed() -> None:
    """A response stays short for any sample."""
    problems = payload.validate(sample(data=[None] * 100_000)).problems

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].code is ProblemCode.MORE_PROBLEMS
    assert problems[-1].message == "there are 99,980 more problems"


def test_reading_an_invalid_sample_raises_its_problems() -> None:
    """A function that reads a stored sample stores the problems of the error."""
    with pytest.raises(InvalidSample, match=r"^expected at least one number, got an empty list - at `\$\.data`$"):
        payload.read(sample(data=[]))


def test_a_default_time_zone_applies_only_without_a_utc_offset() -> None:
    """A UTC offset in the time stamp takes precedence."""
    zone = ZoneInfo("Europe/Zurich")

    without = payload.read(sample(time_stamp="2019-05-01T06:00:00"), zone)
    with_one = payload.read(sample(), zone)

    assert without.timestamp == datetime(2019, 5, 1, 4, tzinfo=UTC)
    assert with_one.timestamp == datetime(2019, 5, 1, 10, tzinfo=UTC)


@given(
    st.datetimes(
        datetime(1, 1, 1),
        datetime.max,
        timezones=st.integers(-15 * 60, 15 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    ),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "seconds")
@example(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "seconds")
def test_usual_time_stamps_are_read_as_all_others(instant: datetime, precision: str) -> None:
    """A short way for usual time stamps saves time. It has the same results and errors as the long way."""
    text = instant.isoformat(timespec=precision)
    report = payload.validate(sample(time_stamp=text))

    try:
        expected: tuple[datetime | None, list[str]] = timestamps.parse(text), []
    except timestamps.TimeStampError as error:
        expected = None, [str(error)]
    assert (report.timestamp, [problem.message for problem in report.problems]) == expected


@pytest.mark.parametrize("depth", [63, 64, 65, 2_000, 500_000])
def test_nesting_is_limited_to_64_levels(depth: int) -> None:
    """The depth of the caller's stack does not matter, and no depth causes a crash."""
    raw = b'{"time_stamp": "%s", "data": [1.5], "more": %s1%s}'
    raw %= (TIME_STAMP.encode(), b"[" * (depth - 1), b"]" * (depth - 1))

    problems = payload.validate(raw).problems

    assert [problem.code for problem in problems] == ([] if depth <= 64 else [ProblemCode.TOO_DEEP])


def test_brackets_in_strings_do_not_nest() -> None:
    """Only brackets outside strings count."""
    assert list(payload.read(sample(note='[{"' * 1_000)).data) == [1.5]


numbers = st.lists(finite | st.integers(-(2**70), 2**70), min_size=1, max_size=50)


@settings(max_examples=25)
@given(numbers, st.sampled_from([", ", ",", " ,\n"]), st.integers(0, 3))
def test_a_large_sample_is_read_as_a_small_one(data: list[float], comma: str, where: int) -> None:
    """It is split into pieces at commas. The order of the members does not matter."""
    text = comma.join(map(json.dumps, data * (30_000 // len(data))))
    members = [f'"time_stamp": "{TIME_STAMP}"', f'"data" : [{text}]', '"note": "[1,2]"', '"more": [1, [2]]']
    raw = f"{{{','.join(members[where:] + members[:where])}}}".encode()

    read = payload.read(raw)

    assert list(read.data) == [float(value) for value in data * (30_000 // len(data))]
    assert payload.validate(raw).count == len(read.data)


@given(
    st.lists(st.tuples(finite | st.integers(-9, 9) | st.none(), st.integers(0, 60), st.integers(0, 60)), min_size=1),
    st.booleans(),
)
@example([(1.5, 0, 0), (2.5, 0, 60)], False)
def test_no_number_is_lost_beside_a_long_one(values: list[tuple[float | None, int, int]], skips_nulls: bool) -> None:
    """A number with many digits, or with much whitespace, can be longer than a piece."""
    given_numbers = [value for value, _, _ in values if value is not None]
    assume(given_numbers and (skips_nulls or len(given_numbers) == len(values)))
    texts = (" " * spaces + _long(json.dumps(value), zeros) for value, spaces, zeros in values)
    raw = f'{{"time_stamp": "{TIME_STAMP}", "data": [{",".join(texts)}]}}'.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scanner, "PIECE_BYTES", 8)

        read = payload.read(raw, skips_missing=skips_nulls)
        report = payload.validate(raw, skips_missing=skips_nulls)

    assert list(read.data) == given_numbers
    assert (report.count, report.missing_count) == (len(given_numbers), len(values) - len(given_numbers))


def _long(number: str, zeros: int) -> str:
    """Return the same number with more digits, if it has a fraction and no exponent."""
    return number + "0" * zeros if "." in number and "e" not in number else number


def test_a_reader_that_loses_a_number_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample must not have a result that lacks values."""
    report = ValidationReport("", datetime(2026, 1, 1, tzinfo=UTC), 3, None)
    monkeypatch.setattr(thorough_reader, "read", lambda *_, **__: report)

    with pytest.raises(InvalidSample, match="only 0 of 3 numbers could be read"):
        payload.read(b"")


@pytest.mark.parametrize(
    ("fault", "path"),
    [("true", "$.data[60000]"), ("[1]", "$.data[60000]"), ('"1"', "$.data[60000]"), ("1e999", "$.data[60000]")],
)
def test_a_fault_in_a_large_sample_is_found(fault: str, path: str) -> None:
    """The path names the one invalid value among many."""
    text = "0.25," * 60_000 + fault + ",0.25" * 60_000

    report = payload.validate(f'{{"time_stamp": "{TIME_STAMP}", "data": [{text}]}}'.encode())

    assert [problem.path for problem in report.problems] == [path]
    assert report.count == 120_001


@pytest.mark.parametrize(
    "text",
    [
        "1, 2," + " " * 140_000,
        "1," + " " * 140_000 + ",2",
        "0.25," * 60_000,
        "0.25,,0.25" + ",0.25" * 60_000,
        "0.25 " * 60_000,
    ],
)
def test_a_large_text_that_is_not_json_is_rejected(text: str) -> None:
    """Splitting at commas must not hide a superfluous or missing comma."""
    with pytest.raises(NotJson):
        payload.validate(f'{{"time_stamp": "{TIME_STAMP}", "data": [{text}]}}'.encode())


@pytest.mark.parametrize("key", [1, "", "x" * 256, "\n", None, []])
def test_an_idempotency_key_in_the_sample_must_be_usable(key: object) -> None:
    """Null counts as no key."""
    problems = payload.validate(sample(idempotency_key=key)).problems

    assert [problem.path for problem in problems] == ([] if key is None else ["$.idempotency_key"])
