"""How the API writes names and times."""

from datetime import UTC, datetime


def camel_case(name: str) -> str:
    """Return a Python name as GraphQL spells it: `percentile_95` becomes `percentile95`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def parse_time(text: str) -> datetime:
    """Return a time of the API in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def format_time(value: datetime) -> str:
    """Return a time in RFC 3339, in UTC with the suffix Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
