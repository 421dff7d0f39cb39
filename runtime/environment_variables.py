"""Settings in environment variables."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

_MIN_SIMILARITY = 0.7
"""The similarity from which a name counts as misspelled. The names of two settings are less similar."""


def read(environ: Mapping[str, str], name: str, default: Any) -> Any:
    """Return the value of a variable, which has the type of its default: `str`, `int` or `float`.

    Raise `ValueError` for a text that is not a number.
    """
    text = environ.get(name)
    if text is None:
        return default
    try:
        return type(default)(text)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise ValueError(f"{name} must be {kind}, got {text!r}") from None


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name of which `name` is probably a misspelling, or None. Pass all names without a common prefix."""
    return next(iter(get_close_matches(name, sorted(names), n=1, cutoff=_MIN_SIMILARITY)), None)
