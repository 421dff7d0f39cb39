"""Settings of the function: who may send events, where it listens, how it logs, and when it audits samples.

All settings are environment variables. The function does not start without a setting for the sender of events. Without
such a sender, any process or web page that reaches the port could store results.
"""

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from observability import logs
from runtime.environment_variables import nearest_name, read
from storage.documents import document_paths

PREFIX = "DROPZONE_"

SUPERVISOR_SETTINGS = ("function_host", "function_processes")
"""Settings about the function that only `infra/embedded/stack.toml` reads."""

MIN_SECRET_CHARACTERS = 32
_SECRET = re.compile(rf"[!-~]{{{MIN_SECRET_CHARACTERS},}}")
"""A header or a path contains the secret, so the sender could not send other characters, such as a line end."""

MAX_AUDIT_DELAY_SECONDS = 86_400
"""A day. Eventarc retries an event for this time, so a later audit finds no more lost events."""

MAX_SHUTDOWN_SECONDS = 3_600
"""As in the settings of the API. With a value in milliseconds, the process would wait for hours, for example."""

_LIMITS = {
    "shards": (1, document_paths.MAX_SHARDS),
    "audit_delay_seconds": (1, MAX_AUDIT_DELAY_SECONDS),
    "shutdown_seconds": (0, MAX_SHUTDOWN_SECONDS),
}
"""The minimum and the maximum of numbers."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings. The field `event_secret` is read from `DROPZONE_EVENT_SECRET`, and so on."""

    host: str = "127.0.0.1"
    """Address that the function listens on. On a loopback address, events must name this machine as their host."""

    function_port: int = 8081
    """Port that the function listens on. Without this setting, the variable `PORT` has the port, as on Cloud Run."""

    shutdown_seconds: int = 1
    """How long the events in progress may take after SIGTERM."""

    event_secret: str = ""
    """The bearer token of events on one machine. `make run` makes a new one at every start."""

    event_audience: str = ""
    """On Google Cloud: the audiences of the identity tokens that Eventarc sends, separated by commas.

    These are the URLs of the function. A `*` matches letters, digits and hyphens.
    """

    event_service_account: str = ""
    """On Google Cloud: the email address of the service account of the Eventarc trigger."""

    log_format: str = ""
    """`text` or `json`. Without this setting, the log is text on a terminal and JSON otherwise."""

    shards: int = 1
    """The number of shards of the time indexes, as in the settings of the API. The audit checks these shards."""

    audit_delay_seconds: float = 300.0
    """The time from the submission of a sample until the audit checks whether the sample has a result."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings of an environment. Raises `ValueError`, which says what to set."""
        _reject_misspelled(environ)
        values: dict[str, Any] = {
            each.name: read(environ, PREFIX + each.name.upper(), each.default) for each in fields(cls)
        }
        if "DROPZONE_FUNCTION_PORT" not in environ:
            values["function_port"] = read(environ, "PORT", cls.function_port)
        return cls(**values)

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can connect."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def event_audiences(self) -> list[str]:
        """The audiences of identity tokens that are accepted."""
        return [audience.strip() for audience in self.event_audience.split(",") if audience.strip()]

    def __post_init__(self) -> None:
        """Raise `ValueError` unless exactly one way to authenticate events is configured and all settings are valid."""
        try:
            logs.check_format(self.log_format)
        except ValueError as error:
            raise ValueError(f"DROPZONE_LOG_FORMAT: {error}") from None
        self._check_numbers()
        self._check_sender()

    def _check_numbers(self) -> None:
        if not math.isfinite(self.audit_delay_seconds):
            raise ValueError(f"DROPZONE_AUDIT_DELAY_SECONDS must be a finite number, got {self.audit_delay_seconds}")
        if not 1 <= self.function_port <= 65_535:
            raise ValueError(f"DROPZONE_FUNCTION_PORT must be a port from 1 to 65535, got {self.function_port}")
        for name, (minimum, maximum) in _LIMITS.items():
            value, rule = getattr(self, name), f"{PREFIX}{name.upper()} must be"
            if value < minimum:
                raise ValueError(f"{rule} at least {minimum}, got {value}")
            if value > maximum:
                raise ValueError(f"{rule} at most {maximum}, got {value}")

    def _check_sender(self) -> None:
        if self.event_service_account != self.event_service_account.strip():
            raise ValueError(
                "DROPZONE_EVENT_SERVICE_ACCOUNT must be an email address without spaces at its start and its end, got "
                f"{self.event_service_account!r}"
            )
        has_identity = bool(self.event_audiences)
        if has_identity != bool(self.event_service_account):
            raise ValueError("set both DROPZONE_EVENT_AUDIENCE and DROPZONE_EVENT_SERVICE_ACCOUNT")
        if self.event_secret and has_identity:
            raise ValueError("set either DROPZONE_EVENT_SECRET, or the audience and the service account, but not both")
        if not self.event_secret and not has_identity:
            raise ValueError(
                "no sender of events is configured: set DROPZONE_EVENT_SECRET (`make run` does that), or on Google "
                "Cloud, set DROPZONE_EVENT_AUDIENCE and DROPZONE_EVENT_SERVICE_ACCOUNT"
            )
        if self.event_secret and not _SECRET.fullmatch(self.event_secret):
            raise ValueError(
                f"DROPZONE_EVENT_SECRET must have at least {MIN_SECRET_CHARACTERS} printable ASCII characters, without "
                "spaces and without a line end"
            )


def _reject_misspelled(environ: Mapping[str, str]) -> None:
    """Raise `ValueError` for an unknown variable whose name is similar to a setting of the function.

    The same environment can contain settings of other processes, so other unknown variables are not rejected.
    """
    own = {each.name.upper() for each in fields(Settings)}
    known = own | {name.upper() for name in SUPERVISOR_SETTINGS}
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if variable.startswith(PREFIX) and name not in known and (nearest := nearest_name(name, own)) is not None:
            raise ValueError(f"{variable} is not a setting; did you mean {PREFIX}{nearest}? See docs/configuration.md.")
