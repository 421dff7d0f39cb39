"""An event is given up because of the retention only while the function works."""

import asyncio
from typing import Any

import pytest

from tests.infra.eventarc.machine import Event, Firestore, Function, until
from tests.infra.eventarc.test_quarantine import trigger_of
from tests.infra.eventarc.test_trials import other_events

IMPATIENT: dict[str, Any] = {"retention_seconds": 0.05, "min_attempts": 2, "announces_given_up": True}


def is_notice(event: Event) -> bool:
    """Return whether this request is the notice of an event that was given up."""
    return "ce-givenup" in event.headers


async def test_the_event_is_sent_once_more_before_each_notice(firestore: Firestore, function: Function) -> None:
    """The function fails for all events. The event becomes a dead letter when the function acknowledges the notice."""

    async def fail(event: Event) -> int:
        return 200 if sum(map(is_notice, function.events)) >= 3 else 500

    function.respond = fail
    await firestore.start(trigger_of(function, **IMPATIENT))

    await firestore.write("users/alice/notes/a")
    await firestore.until_rows("eventarc_undelivered", "state", [("dead",)])

    assert [is_notice(event) for event in function.events][-6:] == [False, True] * 3
    assert int(function.events[-1].headers["ce-attempts"]) == len(function.events) - 3


async def test_the_events_of_a_long_outage_are_processed_when_the_function_works_again(
    firestore: Firestore, function: Function
) -> None:
    """The function fails for all events, and all are given up. It works again after it has refused the first notice."""
    works = False

    async def fail(event: Event) -> int:
        nonlocal works
        status = 200 if works else 503
        works = works or is_notice(event)
        return status

    function.respond = fail
    await firestore.start(trigger_of(function, **IMPATIENT))

    await firestore.write(*(f"users/alice/notes/{number}" for number in range(5)))
    await until(lambda: works)
    await firestore.until_rows("eventarc_undelivered", "state", [])

    assert sum(map(is_notice, function.events)) == 1


async def test_no_event_is_given_up_while_the_function_responds_to_no_event(
    firestore: Firestore, function: Function
) -> None:
    """A process that exits at its start responds to nothing, but the supervisor keeps its socket open."""
    works = asyncio.Event()

    async def hang(_: Event) -> int:
        await works.wait()
        return 200

    function.respond = hang
    await firestore.start(trigger_of(function, **IMPATIENT, acknowledgement_deadline_seconds=0.1))

    await firestore.write("users/alice/notes/a", "users/bob/notes/b")
    await firestore.until_rows("eventarc_undelivered WHERE attempts > 3", "state", [("given_up",)] * 2)
    works.set()
    await firestore.until_rows("eventarc_undelivered", "state", [])

    assert not any(map(is_notice, function.events))


async def test_an_event_without_a_response_is_given_up_if_the_function_processes_other_events(
    firestore: Firestore, function: Function
) -> None:
    """The function then works, so the event is the cause."""

    async def hang(event: Event) -> int:
        if event.document == "users/alice/notes/hangs" and not is_notice(event):
            await asyncio.Event().wait()
        return 200

    function.respond = hang
    patient = IMPATIENT | {"retention_seconds": 1.5}  # no pause between two acknowledgements is as long
    await firestore.start(trigger_of(function, **patient, acknowledgement_deadline_seconds=2.0))

    async with other_events(firestore):
        await firestore.write("users/alice/notes/hangs")
        await firestore.until_rows("eventarc_undelivered WHERE state = 'dead'", "notices", [(0,)])

    assert [event.document for event in function.events if is_notice(event)] == ["users/alice/notes/hangs"]


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_retention_starts_again_when_the_function_works_after_a_long_outage(
    firestore: Firestore, function: Function, *, hangs: bool
) -> None:
    """All events were given up. When the function works, it first responds to each of them that it is busy."""
    works = asyncio.Event()
    refused: set[str] = set()

    async def respond(event: Event) -> int:
        if event.document.endswith("new"):
            asyncio.get_running_loop().call_later(0.1, works.set)  # after the acknowledgement has arrived
            return 200
        if hangs and not works.is_set():
            await asyncio.Event().wait()
        is_busy = event.document not in refused and not is_notice(event)
        if works.is_set():
            refused.add(event.document)
        return 503 if is_busy or not works.is_set() else 200

    function.respond = respond
    impatient = IMPATIENT | {"retention_seconds": 1.0}
    await firestore.start(trigger_of(function, **impatient, acknowledgement_deadline_seconds=0.1))
    await firestore.write(*(f"users/alice/notes/{number}" for number in range(5)))
    await firestore.until_rows("eventarc_undelivered", "state", [("given_up",)] * 5)
    if hangs:
        works.set()
    else:
        await firestore.write("users/bob/notes/new")
    await firestore.until_rows("eventarc_undelivered WHERE state <> 'dead'", "*", [])

    assert len(refused) == 5
    assert await firestore.rows("eventarc_undelivered", "*") == []


async def test_an_undelivered_event_shows_why_its_notice_failed(firestore: Firestore, function: Function) -> None:
    """The function refuses the event, and does not respond to the notice."""

    async def respond(event: Event) -> int:
        if is_notice(event):
            await asyncio.Event().wait()
        return 503

    function.respond = respond
    await firestore.start(trigger_of(function, **IMPATIENT, acknowledgement_deadline_seconds=0.1))

    await firestore.write("users/alice/notes/a")
    problem = "503 OK; notice failed: no acknowledgement within 0.1 s"
    await firestore.until_rows("eventarc_undelivered WHERE notices > 0", "problem", [(problem,)])
