"""The environment variables of the command. The command refuses a misspelled name, which would have no effect."""

import difflib
import os
from collections.abc import Iterable

SETTINGS = ("DROPZONE_LOGIN_SECRET", "DROPZONE_DATA_DIR", "DROPZONE_KEY", "DROPZONE_URL")
MIN_SIMILARITY = 0.85
"""The minimum similarity of a name to a setting at which the name counts as misspelled. Other names are ignored."""


def misspelled_setting(names: Iterable[str] = os.environ) -> str | None:
    """Return an error message for the first variable whose name resembles the name of a setting, or None."""
    for name in sorted(set(names) - set(SETTINGS)):
        if nearest := difflib.get_close_matches(name, SETTINGS, n=1, cutoff=MIN_SIMILARITY):
            return f"{name} is not a setting; did you mean {nearest[0]}?"
    return None
