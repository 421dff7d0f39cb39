"""The fields of a stored document: functions that read one field, and a placeholder for the commit time.

A document can be damaged, for example by a change in the console of Google Cloud. The error names the damaged field.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final


class _ServerTime:
    def __repr__(self) -> str:
        return "SERVER_TIME"


SERVER_TIME: Final = _ServerTime()
"""Firestore replaces this value of a field with the commit time."""


def read_integer(fields: Mapping[str, object], name: str, default: int | None = None) -> int:
    """Return an integer, or `default` if the field is missing. None: the field is required.

    Raises `KeyError` if a required field is missing, and `TypeError` for a value of another type.
    """
    value = fields[name] if default is None else fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected an integer, got {value!r} - at `{name}`")
    return value


def read_time(fields: Mapping[str, object], name: str) -> datetime:
    """Return a time. Raises `KeyError` if the field is missing, and `TypeError` for a value of another type."""
    value = fields[name]
    if not isinstance(value, datetime):
        raise TypeError(f"expected a time, got {value!r} - at `{name}`")
    return value


def read_optional_time(fields: Mapping[str, object], name: str) -> datetime | None:
    """Return a time, or None if the field is missing or is not a time."""
    value = fields.get(name)
    return value if isinstance(value, datetime) else None


def read_optional_text(fields: Mapping[str, object], name: str) -> str | None:
    """Return a text, or None if the field is missing or null."""
    value = fields.get(name)
    return None if value is None else str(value)
