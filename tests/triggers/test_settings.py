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


IDENTITY = {"EVENT_AUDIENCE": "https://a.example", "EVENT_SERVICE_ACCOUNT": "eventarc@example"}


def test_spaces_between_audiences_are_ignored() -> None:
    """A list in a file is easier to read with them."""
    environment = {f"DROPZONE_{name}": value for name, value in IDENTITY.items()}

    settings = Settings.from_environ(environment | {"DROPZONE_EVENT_AUDIENCE": "https://a.example, https://*.example,"})

    assert settings.event_audiences == ["https://a.example", "https://*.example"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"EVENT_AUDIENCE": " , "}, "set both DROPZONE_EVENT_AUDIENCE and DROPZONE_EVENT_SERVICE_ACCOUNT"),
        ({"EVENT_SERVICE_ACCOUNT": " "}, "DROPZONE_EVENT_SERVICE_ACCOUNT must be an email address without spaces .*"),
    ],
)
def test_a_sender_without_a_name_is_rejected(changes: dict[str, str], message: str) -> None:
    """The function would refuse each event."""
    environment = {f"DROPZONE_{name}": value for name, value in (IDENTITY | changes).items()}

    with pytest.raises(ValueError, match=f"^{message}$"):
        Settings.from_environ(environment)
