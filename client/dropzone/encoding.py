"""Conversion of names and times between Python and the API."""

from datetime import UTC, datetime


def camel_case(name: str) -> str:
    """Return a Python name as its GraphQL name: `percentile_95` becomes `percentile95`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def parse_time(text: str) -> datetime:
    """Return a time from the API as a `datetime` in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def format_time(value: datetime) -> str:
    """Return a time as RFC 3339 text in UTC, with the suffix Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
