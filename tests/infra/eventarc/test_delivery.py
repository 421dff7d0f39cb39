"""Writes through Google's client arrive as events at a real HTTP server."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.infra.eventarc.machine import Event, Firestore, Function, until

EVENT_TYPE = "google.cloud.firestore.document.v1."


async def test_a_write_becomes_one_event(firestore: Firestore, function: Function, on_written: dict[str, Any]) -> None:
    """The event contains the document. Documents that the pattern does not select cause no event."""
    await firestore.start(on_written)

    await firestore.write("samples/a", "results/a", "samples/a/chunks/0")
    await until(lambda: len(function.events) == 1)

    [event] = function.events
    assert event.document == "samples/a"
    assert event.data.value.fields["path"].string_value == "samples/a"


async def test_each_kind_of_trigger_gets_its_kind_of_change(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """A `written` trigger gets all three kinds. A write that changes nothing causes no event."""
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


async def test_a_trigger_can_ask_for_the_authentication_context(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """The server does not know who has written a document, so the principal is unknown."""
    types = [EVENT_TYPE + kind for kind in ("created.withAuthContext", "deleted.withAuthContext", "written")]
    await firestore.start(*(on_written | {"name": f"t{i}", "event_type": each} for i, each in enumerate(types)))

    await firestore.write("samples/a")
    await until(lambda: len(function.events) == 2)

    principals = {event.headers["ce-type"]: event.headers.get("ce-authtype") for event in function.events}
    assert principals == {types[0]: "unknown", types[2]: None}


async def test_a_trigger_ignores_other_databases(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """A trigger selects one database, by default `(default)`."""
    await firestore.start(on_written | {"database": "other"})

    await firestore.write("samples/a")
    firestore.client._database = "other"
    firestore.client._database_string_internal = None
    await firestore.client.document("samples/b").set({})
    await until(lambda: bool(function.events))

    assert function.documents == ["samples/b"]


@pytest.mark.parametrize("status", [None, 500, 503, 404, 302, 206])
async def test_an_event_that_is_not_acknowledged_is_sent_again_with_the_same_id(
    firestore: Firestore, function: Function, on_written: dict[str, Any], status: int | None
) -> None:
    """Every response except 200, 201, 202 and 204 is a failure, and so is a broken connection."""

    async def fail_twice(_: Event) -> int | None:
        return status if len(function.events) <= 2 else 204

    function.respond = fail_twice
    await firestore.start(on_written)

    await firestore.write("samples/a")
    await until(lambda: len(function.events) == 3)

    assert len({event.id for event in function.events}) == 1
    assert len({event.body for event in function.events}) == 1


async def test_an_event_that_always_fails_delays_no_other(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """It is retried while all others are delivered once and leave no row."""

    async def fail_one(event: Event) -> int:
        return 500 if event.document == "samples/poison" else 200

    function.respond = fail_one
    await firestore.start(on_written | {"concurrency": 1})

    await firestore.write("samples/poison", *(f"samples/{number}" for number in range(300)))
    await until(lambda: len(set(function.documents)) == 301 and function.documents.count("samples/poison") >= 3)
    await firestore.until_rows("change_consumers", "sequence", [(301,)])
    await firestore.until_rows(
        "eventarc_undelivered", "name", [("projects/p/databases/(default)/documents/samples/poison",)]
    )

    assert len(function.documents) - function.documents.count("samples/poison") == 300


async def test_retries_that_hang_leave_half_of_the_workers_for_other_events(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """With four workers, two retries hang and no third one starts."""
    attempts: Counter[str] = Counter()
    hanging: list[str] = []
    release = asyncio.Event()

    async def hang_on_retry(event: Event) -> int:
        if not event.document.startswith("samples/slow"):
            return 200
        attempts[event.document] += 1
        if attempts[event.document] > 1:
            hanging.append(event.document)
            await release.wait()
        return 500

    function.respond = hang_on_retry
    await firestore.start(on_written | {"concurrency": 4})
    await firestore.write(*(f"samples/slow{number}" for number in range(8)))
    await until(lambda: len(attempts) == 8 and len(hanging) == 2)

    await firestore.write(*(f"samples/{number}" for number in range(100)))
    await until(lambda: len([name for name in function.documents if "slow" not in name]) == 100)
    retries = len(hanging)
    release.set()

    assert retries == 2


async def test_an_event_is_sent_again_after_the_acknowledgement_deadline(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """A function that never responds does not block the event."""
    release = asyncio.Event()

    async def wait(_: Event) -> int:
        await release.wait()
        return 200

    function.respond = wait
    await firestore.start(on_written | {"acknowledgement_deadline_seconds": 0.2})

    await firestore.write("samples/a")
    await firestore.until_rows("eventarc_undelivered", "problem", [("no acknowledgement within 0.2 s",)])
    release.set()
    await firestore.until_rows("eventarc_undelivered", "*", [])

    assert len(function.events) >= 2
    assert len({event.id for event in function.events}) == 1


async def test_a_function_that_was_down_gets_every_event_once(
    firestore: Firestore, function: Function, on_written: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Events do not fail while it is down, even for longer than the retention, and workers reuse connections."""
    await function.stop()
    await firestore.start(on_written | {"retention_seconds": 0.1, "concurrency": 80})
    names = [f"samples/{number}" for number in range(500)]

    await firestore.write(*names)
    await until(lambda: "cannot reach" in caplog.text)
    await asyncio.sleep(0.3)  # longer than the retention
    failed = await firestore.rows("eventarc_undelivered", "*")
    await function.start()
    await until(lambda: len(function.events) == 500)
    await firestore.until_rows("change_consumers", "sequence", [(500,)])

    assert failed == []
    assert sorted(function.documents) == sorted(names)
    assert function.connections <= 80 + 1  # the workers' and the probe's


async def test_a_function_that_crashes_gets_its_unacknowledged_events_again(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """Acknowledged events are not sent again."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def work(event: Event) -> int:
        if event.document == "samples/b":
            arrived.set()
            await release.wait()
        return 200

    function.respond = work
    await firestore.start(on_written)
    await firestore.write("samples/a", "samples/b")
    await arrived.wait()
    await until(lambda: len(function.events) == 2)

    await function.stop()
    release.set()
    function.respond = function.acknowledge
    await function.start()
    await until(lambda: len(function.events) == 3)

    assert sorted(function.documents) == ["samples/a", "samples/b", "samples/b"]


async def test_after_a_restart_only_unacknowledged_events_are_sent(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """The file stores the cursor and the failed events."""

    async def fail(event: Event) -> int:
        return 500 if event.document == "samples/bad" else 200

    function.respond = fail
    await firestore.start(on_written | {"max_backoff_seconds": 60.0, "min_backoff_seconds": 60.0})
    await firestore.write("samples/good", "samples/bad")
    await firestore.until_rows("change_consumers", "sequence", [(2,)])
    await firestore.until_rows("eventarc_undelivered", "sequence, attempts", [(2, 1)])
    await firestore.stop()
    function.respond = function.acknowledge

    await firestore.start()
    await firestore.write("samples/meanwhile")
    await firestore.stop()
    await firestore.start(on_written)
    await until(lambda: len(function.events) == 4)

    assert sorted(function.documents[2:]) == ["samples/bad", "samples/meanwhile"]
    first, again = (event.id for event in function.events if event.document == "samples/bad")
    assert first == again


async def test_a_new_trigger_starts_with_the_next_write(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """As in production, earlier writes cause no events."""
    await firestore.start()
    await firestore.write("samples/before")
    await firestore.stop()

    await firestore.start(on_written)
    await firestore.write("samples/after")
    await until(lambda: bool(function.events))

    assert function.documents == ["samples/after"]


async def test_an_event_in_flight_for_long_does_not_hold_the_cursor_back(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """It gets a row, which is deleted when the event is acknowledged."""
    release = asyncio.Event()

    async def wait(event: Event) -> int:
        if event.document == "samples/slow":
            await release.wait()
        return 200

    function.respond = wait
    await firestore.start(on_written)
    await firestore.write("samples/slow", "samples/quick")
    await firestore.until_rows("change_consumers", "sequence", [(2,)])
    rows = await firestore.rows("eventarc_undelivered", "sequence, attempts")
    release.set()
    await firestore.until_rows("eventarc_undelivered", "sequence", [])

    assert rows == [(1, 0)]
    assert sorted(function.documents) == ["samples/quick", "samples/slow"]


async def test_an_event_that_fails_for_longer_than_the_retention_becomes_a_dead_letter(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """It is not sent again, while a later event still is."""
    function.respond_with(500)
    await firestore.start(on_written | {"retention_seconds": 0.2})
    await firestore.write("samples/a")
    await firestore.until_rows("eventarc_undelivered WHERE state = 'dead'", "sequence", [(1,)])
    attempts = len(function.events)
    await firestore.write("samples/b")
    await firestore.until_rows("eventarc_undelivered WHERE state = 'dead'", "sequence", [(1,), (2,)])

    assert function.documents.count("samples/a") == attempts >= 2
