"""A trigger: which writes go to which address, and how patiently.

The defaults suit one machine, where a function is back within seconds. `profile = "eventarc"` takes the
documented values of Eventarc instead. FaultInjection is for tests of functions: whatever at-least-once
delivery in any order may do to them, on purpose and with a seed.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.path_patterns import InvalidPattern, Pattern

KINDS = (cloudevent.CREATED, cloudevent.UPDATED, cloudevent.DELETED, cloudevent.WRITTEN)

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class InvalidTrigger(Exception):
    """A trigger cannot be as it is described; the message says which and why."""


class Backoff(msgspec.Struct, frozen=True):
    """How long to wait before an event is sent again: twice as long each time, less up to a half at random."""

    shortest: float
    longest: float

    def seconds(self, attempts: int, random: float) -> float:
        """Return the pause after so many failed attempts; `random` is between 0 and 1."""
        pause = min(self.shortest * 2.0 ** min(attempts - 1, 60), self.longest)
        return pause * (1 - random / 2)


BACKOFFS = {"laptop": Backoff(0.1, 30.0), "eventarc": Backoff(10.0, 600.0)}
DEADLINES = {"laptop": 60.0, "eventarc": 10.0}


class FaultInjection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes wrong on purpose: probabilities for each time that an event is sent."""

    seed: int = 0
    duplicate: Probability = 0  # sent twice at once
    delay: Probability = 0  # held for up to `delay_seconds`
    delay_seconds: Seconds = 5.0
    reorder: Probability = 0  # held for a moment, so that later events go first
    drop_acknowledgement: Probability = 0  # delivered, and then taken as if no answer had come


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
    max_body_bytes: Count = 10 * 1024 * 1024
    location: str = "local"
    fault_injection: FaultInjection | None = None

    @property
    def kind(self) -> str:
        """What the trigger is about: created, updated, deleted or written."""
        return self.event_type.removeprefix(cloudevent.EVENT_TYPE)

    @property
    def backoff(self) -> Backoff:
        """The pauses between attempts."""
        usual = BACKOFFS[self.profile]
        shortest = self.min_backoff_seconds or usual.shortest
        return Backoff(shortest, max(shortest, self.max_backoff_seconds or usual.longest))

    @property
    def deadline(self) -> float:
        """Seconds within which an attempt must be acknowledged."""
        return self.acknowledgement_deadline_seconds or DEADLINES[self.profile]


def read(tables: Iterable[Mapping[str, Any]]) -> list[Trigger]:
    """Check the tables of `[[triggers]]` and return them as triggers."""
    triggers: dict[str, Trigger] = {}
    for table in tables:
        try:
            trigger = msgspec.convert(table, Trigger)
            Pattern(trigger.document)
        except (msgspec.ValidationError, InvalidPattern) as error:
            raise InvalidTrigger(f"trigger {table.get('name', '')!r}: {error}") from error
        if trigger.event_type not in [cloudevent.EVENT_TYPE + kind for kind in KINDS]:
            known = ", ".join(KINDS)
            raise InvalidTrigger(
                f"trigger {trigger.name!r}: event_type {trigger.event_type!r} "
                f"is not {cloudevent.EVENT_TYPE} followed by one of {known}"
            )
        url = urlsplit(trigger.url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise InvalidTrigger(f"trigger {trigger.name!r}: url {trigger.url!r} is no HTTP address")
        if trigger.name in triggers:
            raise InvalidTrigger(f"two triggers are called {trigger.name!r}")
        triggers[trigger.name] = trigger
    return list(triggers.values())
