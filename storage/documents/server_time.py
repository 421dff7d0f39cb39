"""A placeholder for the time at which Firestore commits a write."""

from typing import Final


class _ServerTime:
    def __repr__(self) -> str:
        return "SERVER_TIME"


SERVER_TIME: Final = _ServerTime()
"""Firestore replaces this value of a field with the commit time."""
