"""A poison event kills the function. It is sent alone, and given up in the end; other events are delivered."""

from typing import Any

import pytest

from infra.embedded.eventarc.delivery.delivery_store import Suspect
from infra.embedded.eventarc.delivery.quarantine import Quarantine
from tests.infra.eventarc.machine import Firestore, Function, MortalFunction, until


def trigger_of(function: Function, **options: Any) -> dict[str, Any]:
    """Return a trigger whose events are grouped by user."""
    return {
        "name": "on_written",
        "event_type": "google.cloud.firestore.document.v1.written",
        "document": "users/{user}/notes/{note}",
        "url": function.url,
        "min_backoff_seconds": 0.02,
        "max_backoff_seconds": 0.1,
    } | options


@pytest.mark.parametrize("innocent", ["mallory", "alice"])
async def test_poison_events_are_given_up_and_all_others_are_delivered(
    firestore: Firestore, mortal: MortalFunction, innocent: str
) -> None:
    """Three poison events are given up after two crashes each. The others arrive, none becomes a dead letter."""
    await firestore.start(trigger_of(mortal, max_crashes=2, announces_given_up=True))
    names = [f"users/{innocent}/notes/{number}" for number in range(300)]

    await firestore.write(*(f"users/mallory/notes/poison{number}" for number in range(3)), *names)
    await until(lambda: set(mortal.acknowledged) == set(names))
    crashes_until_delivered = mortal.crashes
    await firestore.until_rows("eventarc_undelivered", "state, crashes", [("dead", 2)] * 3)

    assert crashes_until_delivered <= 6
    assert mortal.crashes <= 3 * 3
    assert max(mortal.acknowledged.values()) <= 3
    assert sorted(event.document for event in mortal.notices) == [
        f"users/mallory/notes/poison{number}" for number in range(3)
    ]
    assert {event.body for event in mortal.notices} == {b""}
    assert "no response" in mortal.notices[0].headers["ce-problem"].replace("%20", " ")


def suspect(sequence: int, group: int = 1, crashes: int = 0) -> Suspect:
    """Return a suspect that is due."""
    return Suspect(sequence, group, "quarantined", crashes, 0.0)


def test_suspects_of_a_group_without_crashes_are_first_and_do_not_wait() -> None:
    """Those of the other group wait for three times the time that the crash cost."""
    quarantine = Quarantine(max_crashes=3)
    quarantine.record_crash(1, 10.0, 10.0)
    quarantine.record_acknowledgement(2, 12.0)

    first = quarantine.next([suspect(1), suspect(2, group=2)], 12.0, is_idle=False)
    other = quarantine.next([suspect(1)], 12.0, is_idle=False)
    later = quarantine.next([suspect(1)], 18.1, is_idle=False)

    assert first[0] == suspect(2, group=2)
    assert other == (None, 18.0)
    assert later[0] == suspect(1)


def test_risky_suspects_wait_until_another_event_is_acknowledged() -> None:
    """If no other event waits, they wait for two seconds only."""
    quarantine = Quarantine(max_crashes=3)
    quarantine.record_crash(1, 10.0, 10.0)

    busy, _ = quarantine.next([suspect(1)], 15.0, is_idle=False)
    idle, _ = quarantine.next([suspect(1)], 15.0, is_idle=True)

    assert busy is None
    assert idle == suspect(1)


def test_a_group_is_restricted_only_while_another_group_is_active() -> None:
    """A minute after its last crash, it is not restricted any more."""
    quarantine = Quarantine(max_crashes=3)
    quarantine.record_crash(1, 10.0, 10.0)

    alone = quarantine.restricted_groups(11.0, {1})
    beside = quarantine.restricted_groups(11.0, {1, 2})
    later = quarantine.restricted_groups(80.0, {1, 2})

    assert (alone, beside, later) == (set(), {1}, set())
