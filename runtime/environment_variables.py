"""Settings in environment variables."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T", int, float)

_MIN_SIMILARITY = 0.7
"""The similarity from which a name counts as misspelled. The names of two settings are less similar."""


def read(environ: Mapping[str, str], name: str, default: Any) -> Any:
    """Return the value of a variable, which has the type of its default: `str`, `int` or `float`.

    Raise `ValueError` for a text that is not a number.
    """
    text = environ.get(name)
    if text is None or isinstance(default, str):
        return default if text is None else text
    try:
        return number(text, type(default))
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise ValueError(f"{name} must be {kind}, got {text!r}") from None


def number(text: str, kind: Callable[[str], T]) -> T:
    """Return a number. Raise `ValueError` for 1_000, and for the digits of other scripts, which Python accepts."""
    if not text.isascii() or "_" in text:
        raise ValueError(f"expected a number of ASCII digits, got {text!r}")
    return kind(text)


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name of which `name` is probably a misspelling, or None. Pass all names without a common prefix."""
    return next(iter(get_close_matches(name, sorted(names), n=1, cutoff=_MIN_SIMILARITY)), None)
