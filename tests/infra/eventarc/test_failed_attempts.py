"""A document shows how often an event has failed, until the event is delivered or a dead letter."""

import asyncio
from typing import Any

import pytest

from tests.infra.eventarc.machine import PATIENCE_SECONDS, Event, Firestore, Function, until

DOCUMENT = "attempts/{sample}"


async def until_document(firestore: Firestore, expected: dict[str, Any] | None) -> None:
    """Wait until the document of the sample `a` has these fields; None: until it does not exist."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if (await firestore.client.document("attempts/a").get()).to_dict() == expected:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
def trigger(on_written: dict[str, Any]) -> dict[str, Any]:
    """A trigger that shows failed attempts."""
    return on_written | {"failed_attempts_document": DOCUMENT}


async def test_the_document_is_written_after_2_4_8_failures_and_deleted_after_the_acknowledgement(
    firestore: Firestore, function: Function, trigger: dict[str, Any]
) -> None:
    """It causes no event of the trigger."""
    is_repaired = asyncio.Event()

    async def fail(_: Event) -> int:
        if len(function.events) == 5:  # the fifth attempt hangs, so the document stays as it is
            await is_repaired.wait()
        return 200 if is_repaired.is_set() else 503

    function.respond = fail
    await firestore.start(trigger)
    await firestore.write("samples/a")

    await until_document(firestore, {"attempts": 4, "problem": "503 OK"})
    is_repaired.set()
    await until_document(firestore, None)
    assert function.documents == ["samples/a"] * 5


async def test_an_event_that_fails_once_causes_no_document(
    firestore: Firestore, function: Function, trigger: dict[str, Any]
) -> None:
    """The normal case causes no write at all."""

    async def fail_once(_: Event) -> int:
        return 200 if len(function.events) > 1 else 503

    function.respond = fail_once
    await firestore.start(trigger)
    await firestore.write("samples/a")
    await until(lambda: len(function.events) == 2)
    await firestore.until_rows("eventarc_undelivered", "sequence", [])

    assert await firestore.rows("versions", "count(*)") == [(1,)]


async def test_the_document_exists_while_a_function_dies_at_each_attempt(
    firestore: Firestore, function: Function, trigger: dict[str, Any]
) -> None:
    """Event delivery writes it, so it does not depend on the function. A dead letter has none."""
    may_die = asyncio.Event()

    async def die(event: Event) -> int | None:
        if "ce-givenup" in event.headers:
            await may_die.wait()
            return 200
        return None

    function.respond = die
    await firestore.start(trigger | {"announces_given_up": True, "max_crashes": 2})
    await firestore.write("samples/a")

    await until_document(firestore, {"attempts": 2, "problem": "no response: the connection was closed"})
    may_die.set()
    await firestore.until_rows("eventarc_undelivered", "state", [("dead",)])
    await until_document(firestore, None)


async def test_a_restart_keeps_the_document_until_the_acknowledgement(
    firestore: Firestore, function: Function, trigger: dict[str, Any]
) -> None:
    """The attempts are counted over restarts."""
    function.respond_with(503)
    await firestore.start(trigger)
    await firestore.write("samples/a")
    await until(lambda: len(function.events) >= 2)
    await firestore.until_rows("eventarc_undelivered", "attempts >= 2", [(1,)])
    await firestore.stop()

    function.respond = function.acknowledge
    await firestore.start(trigger)

    await firestore.until_rows("eventarc_undelivered", "sequence", [])
    await until_document(firestore, None)
