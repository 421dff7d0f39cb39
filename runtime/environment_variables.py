"""Settings in environment variables."""

from collections.abc import Mapping
from typing import Any


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
