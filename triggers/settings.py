"""Settings of the function: who may send events, and the format of the log. They are read from environment variables.

Without one of them, any process or web page that reaches the port could store results. The function
therefore does not start without a setting for the sender of events.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from observability import logs

MIN_SECRET_CHARACTERS = 32


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings. The field `event_secret` is read from `DROPZONE_EVENT_SECRET`, and so on."""

    event_secret: str = ""
    """The bearer token of events on one machine. `make run` makes a new one at every start."""

    event_audience: str = ""
    """On Google Cloud: the audience of the identity tokens that Eventarc sends, which is the URL of the function."""

    event_service_account: str = ""
    """On Google Cloud: the e-mail address of the service account of the Eventarc trigger."""

    log_format: str = ""
    """`text` or `json`. Without this setting, the log is text on a terminal and JSON otherwise."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings of an environment. Raises `ValueError`, which says what to set."""
        return cls(**{name: environ.get(f"DROPZONE_{name.upper()}", "") for name in cls.__dataclass_fields__})

    def __post_init__(self) -> None:
        """Raise `ValueError` unless exactly one way to authenticate events is configured and all settings are valid."""
        logs.check_format(self.log_format)
        has_identity = bool(self.event_audience and self.event_service_account)
        if bool(self.event_audience) != bool(self.event_service_account):
            raise ValueError("set both DROPZONE_EVENT_AUDIENCE and DROPZONE_EVENT_SERVICE_ACCOUNT")
        if bool(self.event_secret) == has_identity:
            raise ValueError(
                "the function must know who may send events: set DROPZONE_EVENT_SECRET (`make run` does that), or on "
                "Google Cloud DROPZONE_EVENT_AUDIENCE and DROPZONE_EVENT_SERVICE_ACCOUNT, and not all of them"
            )
        if self.event_secret and (len(self.event_secret) < MIN_SECRET_CHARACTERS or not self.event_secret.isascii()):
            raise ValueError(f"DROPZONE_EVENT_SECRET must have at least {MIN_SECRET_CHARACTERS} ASCII characters")
