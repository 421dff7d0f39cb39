"""A time stamp is an instant, or an error that says what is wrong with it."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.documents import timestamps

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=offsets)


@given(instants)
def test_the_format_of_python_is_parsed_to_the_same_instant(instant: datetime) -> None:
    """It may have any UTC offset and any fraction of a second that a datetime holds."""
    assert timestamps.parse(instant.isoformat()) == instant


@given(instants)
def test_text_in_utc_round_trips(instant: datetime) -> None:
    """Clients can submit the time stamps of responses."""
    text = timestamps.to_text(instant)

    assert text.endswith("Z")
    assert timestamps.parse(text) == instant


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2019-05-01T06:00:00-04:00", "2019-05-01T10:00:00Z"),
        ("2019-05-01t06:00:00z", "2019-05-01T06:00:00Z"),
        ("2019-05-01 06:00:00+0400", "2019-05-01T02:00:00Z"),
        ("2019-05-01T06:00:00+04", "2019-05-01T02:00:00Z"),
        ("2019-05-01T06:00:00.123456789Z", "2019-05-01T06:00:00.123456Z"),
        ("2019-05-01T06:00:00.5Z", "2019-05-01T06:00:00.5Z"),
        ("2019-12-31T23:30:00-01:00", "2020-01-01T00:30:00Z"),
        ("2020-02-29T00:00:00-00:00", "2020-02-29T00:00:00Z"),
    ],
)
def test_common_variants_are_accepted(text: str, utc: str) -> None:
    """These are RFC 3339 and the offsets of strftime. Digits beyond the microsecond are cut."""
    assert timestamps.to_text(timestamps.parse(text)) == utc


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        ("Europe/Zurich", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
        ("Europe/Zurich", "2026-10-25T03:00:00", "2026-10-25T02:00:00Z"),
        ("Europe/Zurich", "2026-03-29T01:59:59", "2026-03-29T00:59:59Z"),
        ("Europe/Zurich", "2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
        ("Europe/Zurich", "2026-03-29T03:00:00", "2026-03-29T01:00:00Z"),
        ("America/St_Johns", "2028-02-29T23:59:00", "2028-03-01T03:29:00Z"),
        ("Pacific/Kiritimati", "2027-01-01T00:10:00", "2026-12-31T10:10:00Z"),
    ],
)
def test_a_local_time_that_occurs_twice_or_not_at_all_has_the_earlier_offset(zone: str, local: str, utc: str) -> None:
    """It has the UTC offset from before the clocks change."""
    assert timestamps.to_text(timestamps.parse(local, ZoneInfo(zone))) == utc


@given(st.text(min_size=1))
def test_any_other_text_is_rejected_with_a_short_message(text: str) -> None:
    """The question mark ensures that the text is not a time stamp."""
    with pytest.raises(timestamps.TimeStampError) as error:
        timestamps.parse(text + "?")

    assert len(str(error.value)) < 300


@pytest.mark.parametrize("offset", ["+05:", "+5", "+05:0", "+", "+05:00:00", "Z+00", "+05 :00"])
def test_an_incomplete_utc_offset_is_rejected(offset: str) -> None:
    """The missing part could be any number."""
    with pytest.raises(timestamps.TimeStampError, match="expected a date, a time and a UTC offset"):
        timestamps.parse(f"2019-05-01T06:00:00{offset}")


@pytest.mark.parametrize("offset", ["+05:60", "-0099", "+14:01", "-15"])
def test_an_offset_that_no_clock_has_is_rejected(offset: str) -> None:
    """No time zone has more than 14 hours or 59 minutes."""
    with pytest.raises(timestamps.TimeStampError, match="expected a UTC offset of at most 14:00"):
        timestamps.parse(f"2019-05-01T06:00:00{offset}")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("2019-02-30T06:00:00Z", "2019-02 has the days 01 to 28"),
        ("2020-02-30T06:00:00Z", "2020-02 has the days 01 to 29"),
        ("2019-04-00T06:00:00Z", "2019-04 has the days 01 to 30"),
        ("2019-13-30T06:00:00Z", "months range from 01 to 12"),
        ("2019-02-28T25:00:00Z", "hours from 00 to 23"),
        ("2019-02-28T06:00:61Z", "minutes and seconds from 00 to 59"),
        ("", "such as 2019-05-01T06:00:00-04:00, got an empty string$"),
        ("2019-02-30T24:00:00Z", "write midnight as 00:00:00 of the next day"),
    ],
)
def test_the_message_explains_the_problem(text: str, advice: str) -> None:
    """It distinguishes a missing day of a month from a missing month."""
    with pytest.raises(timestamps.TimeStampError, match=advice):
        timestamps.parse(text)
