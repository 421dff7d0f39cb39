"""What a trigger may be, and what becomes of events when it changes."""

from typing import Any

import pytest

from infra.embedded.eventarc import trigger
from infra.embedded.eventarc.trigger import InvalidTrigger
from tests.infra.eventarc.machine import Event, Firestore, Function, until

GOOD = {
    "name": "t",
    "event_type": "google.cloud.firestore.document.v1.created",
    "document": "users/{user}",
    "url": "http://127.0.0.1:9000/",
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "with space"}, "name"),
        ({"event_type": "google.cloud.firestore.document.v1.removed"}, "created, updated, deleted, written"),
        ({"document": "users"}, "collection"),
        ({"url": "ftp://somewhere/"}, "HTTP"),
        ({"concurrency": 0}, "concurrency"),
        ({"patience": 1}, "patience"),
        ({"fault_injection": {"duplicate": 1.5}}, "duplicate"),
    ],
)
def test_a_trigger_that_cannot_work_is_refused(change: dict[str, object], reason: str) -> None:
    """Each fault is named before anything is delivered."""
    with pytest.raises(InvalidTrigger, match=reason):
        trigger.read([GOOD | change])


def test_two_triggers_of_one_name_are_refused() -> None:
    """They would share one cursor."""
    with pytest.raises(InvalidTrigger, match="two triggers"):
        trigger.read([GOOD, GOOD])


def test_pauses_double_up_to_the_longest_and_are_shortened_at_random() -> None:
    """So that failed events do not come back all at once."""
    [usual] = trigger.read([GOOD])

    longest = [usual.backoff.seconds(attempts, 0.0) for attempts in (1, 2, 3, 9, 10, 1000)]

    assert longest == [0.1, 0.2, 0.4, 25.6, 30.0, 30.0]
    assert usual.backoff.seconds(1, 1.0) == 0.05


def test_one_switch_gives_what_eventarc_documents() -> None:
    """10 to 600 seconds between attempts, 10 seconds to acknowledge, 24 hours of retention."""
    [documented] = trigger.read([GOOD | {"profile": "eventarc"}])

    backoff = documented.backoff
    assert (backoff.shortest, backoff.longest, documented.deadline) == (10.0, 600.0, 10.0)
    assert documented.retention_seconds == 86_400


@pytest.mark.parametrize(
    "other", [{"document": "results/{result}"}, {"event_type": "google.cloud.firestore.document.v1.deleted"}]
)
async def test_an_event_that_failed_is_sent_to_its_trigger_and_to_no_other_of_that_name(
    firestore: Firestore, function: Function, on_written: dict[str, Any], other: dict[str, Any]
) -> None:
    """A deletion of something that was created, or a document nobody asked for, would mislead the function."""

    async def fail(_: Event) -> int:
        return 500

    function.answer = fail
    await firestore.start(on_written)
    await firestore.write("samples/a")
    await firestore.until_rows("eventarc_failed WHERE attempts > 0", "sequence", [(1,)])
    await firestore.stop()
    function.events.clear()

    await firestore.start(on_written | other)
    await firestore.until_rows("eventarc_failed WHERE problem LIKE '%changed%'", "sequence, dead", [(1, 0)])
    await firestore.stop()
    misled = function.documents.copy()
    function.answer = function.done
    await firestore.start(on_written)
    await until(lambda: bool(function.events))

    assert (misled, function.documents) == ([], ["samples/a"])
