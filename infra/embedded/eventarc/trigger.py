"""A trigger: the document writes that call a URL, and the retries of failed events.

The defaults suit one machine, where a function restarts within seconds. `profile = "eventarc"` selects the
documented values of Eventarc instead.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from infra.embedded.backoff import Backoff
from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.fault_injection import FaultInjection, Seconds
from infra.embedded.eventarc.http_client import is_valid_token, is_valid_url
from infra.embedded.eventarc.path_patterns import InvalidPattern, Pattern
from infra.embedded.python_command import python_command

KINDS = (cloudevent.CREATED, cloudevent.UPDATED, cloudevent.DELETED, cloudevent.WRITTEN)

Count = Annotated[int, msgspec.Meta(ge=1)]
HeaderText = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+\Z")]

BACKOFFS = {"laptop": Backoff(0.1, 30.0), "eventarc": Backoff(10.0, 600.0)}
DEADLINE_SECONDS = {"laptop": 60.0, "eventarc": 10.0}


class InvalidTrigger(Exception):
    """A trigger is invalid. The message names the trigger and says why."""


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of `[[triggers]]`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,63}$")]
    event_type: str
    url: str
    document: str = "{document=**}"
    database: str = "(default)"
    profile: Literal["laptop", "eventarc"] = "laptop"
    concurrency: Count = 80
    min_backoff_seconds: Seconds | None = None
    max_backoff_seconds: Seconds | None = None
    acknowledgement_deadline_seconds: Seconds | None = None
    retention_seconds: Seconds = 86_400.0
    min_attempts: Count = 5
    max_crashes: Count = 3
    announces_given_up: bool = False
    failed_attempts_document: str | None = None
    """The path of the document that shows failed attempts, or None. It can contain wildcards of `document` by name."""
    traceparent_field: str | None = None
    """The field of the document with the `traceparent` of the trace that the event continues, or None."""
    max_body_bytes: Count = 10 * 1024 * 1024
    location: HeaderText = "local"
    token_variable: str | None = None
    """The environment variable with the bearer token of every event, or None if events carry no token."""
    fault_injection: FaultInjection | None = None

    @property
    def kind(self) -> str:
        """The kind of change that the trigger selects: created, updated, deleted or written."""
        kind = self.event_type.removeprefix(cloudevent.EVENT_TYPE_PREFIX)
        return kind.removesuffix(cloudevent.WITH_AUTH_CONTEXT)

    @property
    def backoff(self) -> Backoff:
        """The pauses between attempts to send an event."""
        default = BACKOFFS[self.profile]
        min_seconds = self.min_backoff_seconds or default.min_seconds
        return Backoff(min_seconds, max(min_seconds, self.max_backoff_seconds or default.max_seconds))

    @property
    def deadline_seconds(self) -> float:
        """The maximum time for the function to acknowledge an event, in seconds."""
        return self.acknowledgement_deadline_seconds or DEADLINE_SECONDS[self.profile]

    @property
    def token(self) -> str | None:
        """The bearer token with which the function authenticates an event."""
        return None if self.token_variable is None else os.environ.get(self.token_variable)


def read(tables: Iterable[Mapping[str, Any]]) -> list[Trigger]:
    """Validate the tables of `[[triggers]]` and return them as triggers. Raises `InvalidTrigger`."""
    triggers: dict[str, Trigger] = {}
    for table in tables:
        try:
            trigger = msgspec.convert(table, Trigger)
            _check_failed_attempts_document(trigger, Pattern(trigger.document))
        except (msgspec.ValidationError, InvalidPattern, ValueError) as error:
            raise InvalidTrigger(f"trigger {table.get('name', '')!r}: {error}") from error
        if not trigger.event_type.startswith(cloudevent.EVENT_TYPE_PREFIX) or trigger.kind not in KINDS:
            raise InvalidTrigger(
                f"trigger {trigger.name!r}: expected event_type to be {cloudevent.EVENT_TYPE_PREFIX} "
                f"followed by one of {', '.join(KINDS)}, got {trigger.event_type!r}"
            )
        if not is_valid_url(trigger.url):
            raise InvalidTrigger(f"trigger {trigger.name!r}: expected url to be an ASCII HTTP URL, got {trigger.url!r}")
        if trigger.token_variable is not None and not is_valid_token(trigger.token or ""):
            raise InvalidTrigger(
                f"trigger {trigger.name!r}: expected a token of printable ASCII characters without spaces in the "
                f"environment variable {trigger.token_variable}; start this process with "
                f"`{python_command('infra.embedded')}`"
            )
        if trigger.name in triggers:
            raise InvalidTrigger(f"two triggers are named {trigger.name!r}; rename one of them")
        triggers[trigger.name] = trigger
    return list(triggers.values())


def _check_failed_attempts_document(trigger: Trigger, pattern: Pattern) -> None:
    """Raise ValueError unless the document is valid and does not cause events of the same trigger."""
    template = trigger.failed_attempts_document
    if template is None:
        return
    names = dict.fromkeys(pattern.names, "x")
    try:
        path = template.format_map(names)
    except (AttributeError, LookupError, ValueError):
        path = ""
    if "" in path.split("/") or path.count("/") % 2 == 0:
        expected = "expected the path of a document, with names of the path pattern in braces"
        raise ValueError(f"failed_attempts_document {template!r}: {expected}")
    if pattern.group(path) is not None:
        raise ValueError(f"failed_attempts_document {template!r}: expected a document that the trigger does not select")
