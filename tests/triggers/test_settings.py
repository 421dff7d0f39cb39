"""Settings of the function are validated before it starts."""

from dataclasses import fields

import pytest

from graphql_api.configuration.setting_names import CLIENT_SETTINGS, STACK_SETTINGS
from graphql_api.configuration.settings import Settings as ApiSettings
from triggers.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SHARDS", "0", " must be at least 1, got 0"),
        ("SHARDS", "513", " must be at most 512, got 513"),
        ("AUDIT_DELAY_SECONDS", "0.5", " must be at least 1, got 0.5"),
        ("AUDIT_DELAY_SECONDS", "5min", " must be a number, got '5min'"),
        ("AUDIT_DELAY_SECONDS", "300000", " must be at most 86400, got 300000.0"),
        ("AUDIT_DELAY_SECONDS", "nan", " must be a finite number, got nan"),
        ("AUDIT_DELAY_SECONDS", "inf", " must be a finite number, got inf"),
        ("SHUTDOWN_SECONDS", "-1", " must be at least 0, got -1"),
        ("SHUTDOWN_SECONDS", "30000", " must be at most 3600, got 30000"),
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


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("AUDIT_DELAY", "AUDIT_DELAY_SECONDS"),
        ("EVENT_AUDIENCES", "EVENT_AUDIENCE"),
        ("SHARD", "SHARDS"),
        ("FUNCTION_PRT", "FUNCTION_PORT"),
    ],
)
def test_a_misspelled_setting_is_rejected_with_the_nearest_name(name: str, nearest: str) -> None:
    """It would otherwise have no effect. With a wrong number of shards, the audit does not check all samples."""
    with pytest.raises(ValueError, match=rf"^DROPZONE_{name} is not a setting; did you mean DROPZONE_{nearest}\?"):
        Settings.from_environ({"DROPZONE_EVENT_SECRET": "s" * 32, f"DROPZONE_{name}": "4"})


def test_the_settings_of_other_processes_are_ignored() -> None:
    """On Kubernetes, API and function have the same ConfigMap, and `make run` passes its environment to both."""
    others = {*ApiSettings.names(), *STACK_SETTINGS, *CLIENT_SETTINGS} - {each.name for each in fields(Settings)}

    settings = Settings.from_environ(
        {"DROPZONE_EVENT_SECRET": "s" * 32} | {f"DROPZONE_{name.upper()}": "1" for name in others}
    )

    assert settings == Settings(event_secret="s" * 32)
