"""A crash counts against an event only if no other event was in flight."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from infra.embedded.eventarc.delivery import suspect_sender
from tests.infra.eventarc.machine import Event, Firestore, MortalFunction, until
from tests.infra.eventarc.test_quarantine import trigger_of

ALONE_SECONDS = 1.5  # longer than other events are held back during the trial of a suspect that is not unclear


@contextlib.asynccontextmanager
async def other_events(firestore: Firestore) -> AsyncIterator[None]:
    """Write documents continuously, so that events of another user are always waiting."""

    async def write() -> None:
        number = 0
        while True:
            await firestore.write(*(f"users/busy/notes/{number + offset}" for offset in range(5)))
            number += 5

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.wait([writing])


async def test_an_event_is_not_given_up_because_new_events_crash_the_function_during_its_trial(
    firestore: Firestore, mortal: MortalFunction
) -> None:
    """One crash is enough to give an event up. Two crashes interrupt a slow event, and neither counts against it."""
    arrivals: Counter[str] = Counter()

    async def respond(event: Event) -> int | None:
        arrivals[event.document] += 1
        if event.document.endswith("slow") and arrivals[event.document] <= 2:
            await asyncio.Event().wait()  # until the function dies
        return await mortal.respond_or_die(event)

    mortal.respond = respond
    await firestore.start(trigger_of(mortal, max_crashes=1, announces_given_up=True))

    await firestore.write("users/alice/notes/slow")
    await until(lambda: arrivals["users/alice/notes/slow"] == 1)
    await firestore.write("users/mallory/notes/poison")
    await until(lambda: arrivals["users/alice/notes/slow"] == 2)
    await firestore.write("users/trudy/notes/poison")
    await until(lambda: bool(mortal.acknowledged["users/alice/notes/slow"]))
    await firestore.until_rows("eventarc_undelivered", "state, crashes", [("dead", 1)] * 2)

    assert {event.document for event in mortal.notices} == {"users/mallory/notes/poison", "users/trudy/notes/poison"}


async def test_two_events_that_crash_the_function_only_together_both_succeed(
    firestore: Firestore, mortal: MortalFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of slow events overlap, so the two events also crash the function during their trials."""
    monkeypatch.setattr(suspect_sender, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(suspect_sender, "POLL_SECONDS", 0.1)
    both = asyncio.Event()
    heavy: set[str] = set()

    async def respond(event: Event) -> int | None:
        if not event.document.endswith("heavy"):
            return await mortal.respond_or_die(event)
        heavy.add(event.document)
        crashes = mortal.crashes
        if len(heavy) == 2:
            both.set()
            heavy.clear()
            mortal.die()
            return None
        try:
            async with asyncio.timeout(ALONE_SECONDS if both.is_set() else None):
                await (asyncio.Event() if both.is_set() else both).wait()
        except TimeoutError:
            if mortal.crashes == crashes:
                heavy.discard(event.document)
                mortal.acknowledged[event.document] += 1
                return 200
        return None

    mortal.respond = respond
    await firestore.start(trigger_of(mortal, max_crashes=1, announces_given_up=True))

    async with other_events(firestore):
        await firestore.write("users/alice/notes/heavy", "users/bob/notes/heavy")
        await until(lambda: {"users/alice/notes/heavy", "users/bob/notes/heavy"} <= set(mortal.acknowledged))
    await firestore.until_rows("eventarc_undelivered", "*", [])

    assert mortal.crashes <= 2
    assert mortal.notices == []


async def test_an_event_that_crashes_the_function_late_is_given_up_while_the_function_is_busy(
    firestore: Firestore, mortal: MortalFunction
) -> None:
    """It crashes the function only when other events are in flight again, unless its trial is exclusive to the end."""
    arrived = asyncio.Event()

    async def respond(event: Event) -> int | None:
        if not event.document.endswith("late"):
            arrived.set()
            return await mortal.respond_or_die(event)
        arrived.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALONE_SECONDS):
                await arrived.wait()
        mortal.die()
        return None

    mortal.respond = respond
    await firestore.start(trigger_of(mortal, max_crashes=1))

    async with other_events(firestore):
        await firestore.write("users/mallory/notes/late")
        await firestore.until_rows("eventarc_undelivered WHERE state = 'dead'", "crashes", [(1,)])
    await firestore.until_rows("eventarc_undelivered", "state", [("dead",)])

    assert mortal.crashes <= 4
