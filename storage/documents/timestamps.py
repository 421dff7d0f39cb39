"""Conversion of time stamps: from the text that a client sends to an instant in UTC.

The format is RFC 3339 (https://www.rfc-editor.org/rfc/rfc3339#section-5.6). Lower-case letters, a space instead of `T`
and the UTC offsets of ISO 8601 (`+0400`, `+04`) are also accepted. A time stamp without a UTC offset needs a default
time zone. Instants are truncated to microseconds, the precision of Firestore. The header stores the submitted text with
all its digits.
"""

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import orjson

from storage.documents.problems import ProblemCode, echo

MAX_TIME_STAMP_CHARACTERS = 64
MAX_UTC_OFFSET = timedelta(hours=14)

_FORM = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(?P<fraction>\d+))?"
    r"(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>\d{2})(?::?(?P<minutes>\d{2}))?)?",
    re.ASCII,
)
_EXAMPLE = "such as 2019-05-01T06:00:00-04:00"


class TimeStampError(ValueError):
    """The text is not a valid time stamp. `code` is the kind of the problem."""

    def __init__(self, code: ProblemCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse(text: str, default_time_zone: tzinfo | None = None) -> datetime:
    """Return the instant of `text` in UTC.

    `default_time_zone` applies to a text without a UTC offset. A local time that occurs twice, or not at all, has the
    UTC offset from before the clocks change. Raises `TimeStampError` with a code and a message for the client.
    """
    if len(text) > MAX_TIME_STAMP_CHARACTERS:
        raise _invalid(f"expected a time stamp {_EXAMPLE}, got {len(text):,} characters")
    match = _FORM.fullmatch(text)
    if match is None:
        raise _invalid(f"expected a date, a time and a UTC offset {_EXAMPLE}, got {echo(text) or 'an empty string'}")
    try:
        year, month, day, hour, minute, second = map(int, match.groups()[:6])
        local = datetime(year, month, day, hour, minute, second, _microsecond(match))
    except ValueError:
        raise _invalid(f"expected a valid date and time, got {echo(text)}; {_advice(match)}") from None
    zone = _zone(match, text) or default_time_zone
    if zone is None:
        raise TimeStampError(
            ProblemCode.NO_UTC_OFFSET,
            f"expected a UTC offset, such as Z or -04:00, at the end of {echo(text)}",
        )
    try:
        return local.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        raise TimeStampError(
            ProblemCode.OUT_OF_RANGE, f"expected a time between the years 1 and 9999 in UTC, got {echo(text)}"
        ) from None


def to_text(instant: datetime) -> str:
    """Return `instant` in UTC in the format of RFC 3339, without trailing zeros in the fraction of a second."""
    # Four times as fast as `isoformat`.
    quoted = orjson.dumps(instant.astimezone(UTC), default=_plain, option=orjson.OPT_UTC_Z)
    text = quoted[1:-2].decode()
    return (text.rstrip("0") if "." in text else text) + "Z"


def _plain(instant: datetime) -> datetime:
    """Return an instant of a subclass, such as those of Google's client libraries, as an instant that orjson writes."""
    return datetime.combine(instant.date(), instant.timetz())


def _zone(match: re.Match[str], text: str) -> tzinfo | None:
    if match["utc"]:
        return UTC
    if not match["sign"]:
        return None
    minutes = int(match["minutes"] or 0)
    offset = timedelta(hours=int(match["hours"]), minutes=minutes)
    if minutes > 59 or offset > MAX_UTC_OFFSET:
        raise _invalid(f"expected a UTC offset of at most 14:00, got {echo(text)}")
    return timezone(-offset if match["sign"] == "-" else offset)


def _microsecond(match: re.Match[str]) -> int:
    return int((match["fraction"] or "0")[:6].ljust(6, "0"))


def _advice(match: re.Match[str]) -> str:
    if match[4] == "24":
        return "write midnight as 00:00:00 of the next day"
    if match[6] == "60":
        return "leap seconds are not supported: seconds range from 00 to 59"
    if match[1] == "0000":
        return "the first year is 0001"
    year, month, day = map(int, match.groups()[:3])
    if 1 <= month <= 12:
        days = monthrange(year, month)[1]
        if not 1 <= day <= days:
            return f"{match[1]}-{match[2]} has the days 01 to {days}"
    return "months range from 01 to 12, hours from 00 to 23, and minutes and seconds from 00 to 59"


def _invalid(message: str) -> TimeStampError:
    return TimeStampError(ProblemCode.INVALID_TIME_STAMP, message)
