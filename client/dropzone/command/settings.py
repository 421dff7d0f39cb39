"""The environment variables of the command. A misspelled one is refused, because it would have no effect."""

import difflib
import os
from collections.abc import Iterable

SETTINGS = ("DROPZONE_DATA_DIR", "DROPZONE_KEY", "DROPZONE_URL")
MIN_SIMILARITY = 0.85
"""Of a misspelled name to its setting. Other names with the prefix belong to the server and are ignored."""


def misspelled_setting(names: Iterable[str] = os.environ) -> str | None:
    """Return a sentence about the first variable that is almost the name of a setting, or None."""
    for name in sorted(set(names) - set(SETTINGS)):
        if nearest := difflib.get_close_matches(name, SETTINGS, n=1, cutoff=MIN_SIMILARITY):
            return f"{name} is not a setting; did you mean {nearest[0]}?"
    return None
