"""The environment variables of Dropzone. The command refuses a misspelled one, which would otherwise have no effect."""

import difflib
import os
from collections.abc import Iterable

PREFIX = "DROPZONE_"

SETTINGS = (
    "DROPZONE_ALLOWED_ORIGINS",
    "DROPZONE_API_PORT",
    "DROPZONE_API_PROCESSES",
    "DROPZONE_DATA_DIR",
    "DROPZONE_DEFAULT_TIME_ZONE",
    "DROPZONE_FIRESTORE_PORT",
    "DROPZONE_FIRESTORE_RATE_LIMITS",
    "DROPZONE_FUNCTION_PORT",
    "DROPZONE_FUNCTION_PROCESSES",
    "DROPZONE_HOST",
    "DROPZONE_KEY",
    "DROPZONE_KEY_CACHE_SECONDS",
    "DROPZONE_LOCAL_KEY_FILE",
    "DROPZONE_MAX_BUFFERED_RESULTS",
    "DROPZONE_MAX_PENDING_WRITES_MIB",
    "DROPZONE_MAX_SAMPLE_MIB",
    "DROPZONE_SHARDS",
    "DROPZONE_URL",
    "DROPZONE_WRITE_TIMEOUT_SECONDS",
)
"""All settings of the client and the server. A shell that exports server settings can run the command too."""


def unknown_setting(names: Iterable[str] = os.environ) -> str | None:
    """Return a sentence about the first variable that has the prefix but is not a setting, or None."""
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in SETTINGS:
            nearest = difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.0)
            return f"{name} is not a setting; did you mean {nearest[0]}?"
    return None
