"""The names of the environment variables that are settings: those of the API, and those of the other processes.

API, function, supervisor and client can share an environment. The API therefore has to know the settings of all of
them to find a misspelled one.
"""

from collections.abc import Iterable

from runtime.environment_variables import nearest_name

PREFIX = "DROPZONE_"

STACK_SETTINGS = (
    "firestore_port",
    "function_host",
    "function_port",
    "data_dir",
    "api_processes",
    "function_processes",
    "firestore_max_wal_mib",
    "firestore_rate_limits",
    "firestore_token",
)
"""Settings that only `infra/embedded/stack.toml` reads."""

FUNCTION_SETTINGS = ("event_secret", "event_audience", "event_service_account", "audit_delay_seconds")
"""Settings that only the trigger function reads."""

CLIENT_SETTINGS = ("url", "key", "login_secret")
"""Settings that only the client reads."""


def reject_unknown(variables: Iterable[str], api_settings: Iterable[str]) -> None:
    """Raise `ValueError` if one of `variables` starts with `DROPZONE_` and is not a setting of any process."""
    names = [*api_settings, *STACK_SETTINGS, *FUNCTION_SETTINGS, *CLIENT_SETTINGS]
    known = {name.upper() for name in names}
    for variable in sorted(variables):
        name = variable.removeprefix(PREFIX)
        if variable.startswith(PREFIX) and name not in known:
            nearest = nearest_name(name, known)
            question = "" if nearest is None else f"; did you mean {PREFIX}{nearest}?"
            raise ValueError(f"{variable} is not a setting{question or '.'} See docs/configuration.md.")
