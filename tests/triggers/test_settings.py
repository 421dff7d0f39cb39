"""Settings of the function are validated before it starts."""

import pytest

from triggers.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SHARDS", "0", " must be at least 1, got 0"),
        ("SHARDS", "513", " must be at most 512, got 513"),
        ("AUDIT_DELAY_SECONDS", "0.5", " must be at least 1, got 0.5"),
        ("AUDIT_DELAY_SECONDS", "300000", " must be at most 86400, got 300000.0"),
        ("AUDIT_DELAY_SECONDS", "nan", " must be a finite number, got nan"),
        ("AUDIT_DELAY_SECONDS", "inf", " must be a finite number, got inf"),
        ("SHUTDOWN_SECONDS", "-1", " must be at least 0, got -1"),
        ("FUNCTION_PORT", "0", " must be a port from 1 to 65535, got 0"),
        ("LOG_FORMAT", "xml", ": the log format must be text or json, got 'xml'"),
    ],
)
def test_an_unusable_value_is_rejected(name: str, value: str, message: str) -> None:
    """The function does not start with it. The message names the variable."""
    with pytest.raises(ValueError, match=f"^DROPZONE_{name}{message}$"):
        Settings.from_environ({"DROPZONE_EVENT_SECRET": "s" * 32, f"DROPZONE_{name}": value})
