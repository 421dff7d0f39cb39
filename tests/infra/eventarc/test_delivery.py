"""Writes through the official client arrive as events at a real HTTP server."""

import asyncio
import time
from typing import Any

import pytest

from tests.infra.eventarc.machine import Event, Firestore, Function, until

EVENT_TYPE = "google.cloud.firestore.document.v1."


async def test_a_write_becomes_one_event(firestore: Firestore, function: Function, on_written: dict[str, Any]) -> None:
    """With the document in it, and only for what the pattern names."""
    await firestore.start(on_written)

    await firestore.write("samples/a", "results/a", "samples/a/chunks/0")
    await until(lambda: len(function.events) == 1)

    [event] = function.events
    assert event.document == "samples/a"
    assert event.data.value.fields["path"].string_value == "samples/a"


async def test_each_kind_of_trigger_gets_its_kind_of_change(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """`written` gets all three; a write that changes nothing is no event."""
    kinds = ("created", "updated", "deleted", "written")
    await firestore.start(*(on_written | {"name": kind, "event_type": EVENT_TYPE + kind} for kind in kinds))
    document = firestore.client.document("samples/a")

    await document.set({"x": 1})
    await document.set({"x": 1})
    await document.set({"x": 2})
    await document.delete()
    await until(lambda: len(function.events) == 6)
    await firestore.write("samples/last")
    await until(lambda: function.documents.count("samples/last") == 2)

    types = sorted(event.headers["ce-type"].removeprefix(EVENT_TYPE) for event in function.events)
    assert types == ["created"] * 2 + ["deleted"] + ["updated"] + ["written"] * 4
    [updated] = [event for event in function.events if event.headers["ce-type"].endswith("updated")]
    assert updated.data.old_value.fields["x"].integer_value == 1
    assert list(updated.data.update_mask.field_paths) == ["x"]
    assert len({event.id for event in function.events}) == len(function.events)


async def test_other_databases_are_not_meant(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """A trigger is about one database, `(default)` unless it says otherwise."""
    await firestore.start(on_written | {"database": "other"})

    await firestore.write("samples/a")
    firestore.client._database = "other"
    firestore.client._database_string_internal = None
    await firestore.client.document("samples/b").set({})
    await until(lambda: bool(function.events))

    assert function.documents == ["samples/b"]


@pytest.mark.parametrize("status", [None, 500, 503, 404, 302, 206])
async def test_what_is_not_acknowledged_is_sent_again_as_the_same_event(
    firestore: Firestore, function: Function, on_written: dict[str, Any], status: int | None
) -> None:
    """Whatever the function answers but 200, 201, 202 and 204; or if it breaks the connection."""

    async def fail_twice(_: Event) -> int | None:
        return status if len(function.events) <= 2 else 204

    function.answer = fail_twice
    await firestore.start(on_written)

    await firestore.write("samples/a")
    await until(lambda: len(function.events) == 3)

    assert len({event.id for event in function.events}) == 1
    assert len({event.body for event in function.events}) == 1


async def test_a_poisoned_event_stands_in_nobodys_way(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """It is tried again and again; all others are delivered meanwhile, and forgotten."""

    async def choke(event: Event) -> int:
        return 500 if event.document == "samples/poison" else 200

    function.answer = choke
    await firestore.start(on_written | {"concurrency": 1})

    await firestore.write("samples/poison", *(f"samples/{number}" for number in range(300)))
    await until(lambda: len(set(function.documents)) == 301 and function.documents.count("samples/poison") >= 3)
    await asyncio.sleep(0.3)

    assert len(function.documents) - function.documents.count("samples/poison") == 300
    assert await firestore.rows("eventarc_failed", "name") == [
        ("projects/p/databases/(default)/documents/samples/poison",)
    ]
    assert await firestore.rows("change_consumers", "sequence") == [(301,)]


async def test_events_that_never_end_leave_room_for_others(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """After its first attempt such an event may take half of the places at most."""

    async def hang(event: Event) -> int:
        if event.document.startswith("samples/slow"):
            await asyncio.sleep(0.2)
            return 500
        return 200

    function.answer = hang
    await firestore.start(on_written | {"concurrency": 4})
    await firestore.write(*(f"samples/slow{number}" for number in range(8)))
    await until(lambda: len(function.events) >= 12)

    began = time.monotonic()
    await firestore.write(*(f"samples/{number}" for number in range(100)))
    await until(lambda: len([name for name in function.documents if "slow" not in name]) == 100)

    assert time.monotonic() - began < 1.5


async def test_a_late_answer_is_no_acknowledgement(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """The event is sent again when the deadline is over."""

    async def be_late_once(_: Event) -> int:
        if len(function.events) == 1:
            await asyncio.sleep(5)
        return 200

    function.answer = be_late_once
    await firestore.start(on_written | {"acknowledgement_deadline_seconds": 0.2})

    await firestore.write("samples/a")
    await until(lambda: len(function.events) == 2)

    first, second = function.events
    assert 0.2 <= second.at - first.at < 2


async def test_a_function_that_is_down_gets_everything_when_it_is_back(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """Nothing is counted as failed, nothing is lost, and it is not stormed meanwhile."""
    await function.stop()
    await firestore.start(on_written | {"retention_seconds": 0.1})
    names = [f"samples/{number}" for number in range(500)]

    await firestore.write(*names)
    await asyncio.sleep(1.0)
    failed = await firestore.rows("eventarc_failed", "*")
    await function.start()
    began = time.monotonic()
    await until(lambda: len(function.events) == 500)

    assert failed == []
    assert time.monotonic() - began < 2
    assert sorted(function.documents) == sorted(names)


async def test_a_function_that_dies_while_it_works_gets_its_events_again(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """Those that it had not acknowledged, and those only."""
    arrived = asyncio.Event()

    async def work(event: Event) -> int:
        if event.document == "samples/b":
            arrived.set()
            await asyncio.sleep(30)
        return 200

    function.answer = work
    await firestore.start(on_written)
    await firestore.write("samples/a", "samples/b")
    await arrived.wait()
    await until(lambda: len(function.events) == 2)

    await function.stop()
    function.answer = function.done
    await function.start()
    await until(lambda: len(function.events) == 3)

    assert sorted(function.documents) == ["samples/a", "samples/b", "samples/b"]


async def test_a_restart_repeats_nothing_that_was_acknowledged_and_forgets_nothing_else(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """The cursor and the rows of failed events are in the file."""

    async def fail(event: Event) -> int:
        return 500 if event.document == "samples/bad" else 200

    function.answer = fail
    await firestore.start(on_written | {"max_backoff_seconds": 60.0, "min_backoff_seconds": 60.0})
    await firestore.write("samples/good", "samples/bad")
    await until(lambda: len(function.events) == 2)
    await firestore.stop()
    function.answer = function.done

    await firestore.start()
    await firestore.write("samples/meanwhile")
    await firestore.stop()
    await firestore.start(on_written)
    await until(lambda: len(function.events) == 4)

    assert sorted(function.documents[2:]) == ["samples/bad", "samples/meanwhile"]
    first, again = (event.id for event in function.events if event.document == "samples/bad")
    assert first == again


async def test_a_new_trigger_starts_with_what_is_written_from_now_on(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """As in production, the past makes no events."""
    await firestore.start()
    await firestore.write("samples/before")
    await firestore.stop()

    await firestore.start(on_written)
    await firestore.write("samples/after")
    await until(lambda: bool(function.events))

    assert function.documents == ["samples/after"]


async def test_an_event_under_way_for_long_does_not_hold_the_cursor(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """It gets a row of its own, which goes when it is acknowledged."""
    release = asyncio.Event()

    async def wait(event: Event) -> int:
        if event.document == "samples/slow":
            await release.wait()
        return 200

    function.answer = wait
    await firestore.start(on_written)
    await firestore.write("samples/slow", "samples/quick")
    await firestore.until_rows("change_consumers", "sequence", [(2,)])
    rows = await firestore.rows("eventarc_failed", "sequence, attempts")
    release.set()
    await firestore.until_rows("eventarc_failed", "sequence", [])

    assert rows == [(1, 0)]
    assert sorted(function.documents) == ["samples/quick", "samples/slow"]


async def test_what_fails_for_longer_than_the_retention_is_kept_as_a_dead_letter(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """It is not sent any more."""

    async def fail(_: Event) -> int:
        return 500

    function.answer = fail
    await firestore.start(on_written | {"retention_seconds": 0.2})
    await firestore.write("samples/a")
    await firestore.until_rows("eventarc_failed WHERE dead", "sequence", [(1,)])
    attempts = len(function.events)
    await asyncio.sleep(0.3)

    assert 3 <= attempts == len(function.events)
