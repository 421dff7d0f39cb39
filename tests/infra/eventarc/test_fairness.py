"""A large backlog of one group delays no other group, also over restarts and steps of the clock."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest

from infra.embedded.firestore.api.admin_endpoints import AdminEndpoints
from tests.infra.eventarc.machine import Event, Firestore, Function, until
from tests.infra.eventarc.test_dead_letters import command
from tests.ports import free_port

FLOOD = 2_500  # more events than fit into memory
BATCH = 500


@pytest.fixture
def on_note(on_written: dict[str, Any]) -> dict[str, Any]:
    """A trigger whose events are grouped by user."""
    return on_written | {"document": "users/{user}/notes/{note}", "concurrency": 8}


def batches(user: str, count: int) -> Iterator[list[str]]:
    """Yield the paths of documents of a user."""
    names = [f"users/{user}/notes/{number}" for number in range(count)]
    return (names[start : start + BATCH] for start in range(0, count, BATCH))


def hang(function: Function, selects: Callable[[str], bool]) -> asyncio.Event:
    """Let the function hang with the events of selected documents, until the returned event is set."""
    release = asyncio.Event()

    async def respond(event: Event) -> int:
        if selects(event.document):
            await release.wait()
        return 200

    function.respond = respond
    return release


async def test_a_backlog_of_one_group_does_not_delay_another(
    firestore: Firestore, function: Function, on_note: dict[str, Any]
) -> None:
    """The flood does not fit into memory and never gets a response. Another user's events arrive at once."""
    release = hang(function, lambda name: "/mallory/" in name)
    await firestore.start(on_note)
    for batch in batches("mallory", FLOOD):
        await firestore.write(*batch)
    for batch in batches("alice", BATCH):
        await firestore.write(*batch)
    await until(lambda: len({name for name in function.documents if "/alice/" in name}) == BATCH)
    flooded = len(set(function.documents)) - BATCH
    release.set()
    await until(lambda: len(set(function.documents)) == FLOOD + BATCH)
    await firestore.until_rows("eventarc_groups", "*", [])

    assert flooded <= 4 * 2


async def test_after_a_crash_few_events_of_a_group_without_backlog_are_repeated(
    firestore: Firestore, function: Function, on_note: dict[str, Any]
) -> None:
    """The file stores the progress of each group, so the backlog of one group does not repeat another one's events."""
    release = hang(function, lambda name: "/mallory/" in name)
    await firestore.start(on_note)
    for batch in [*batches("mallory", 2_000), *batches("alice", BATCH)]:
        await firestore.write(*batch)
    await until(lambda: sum("/alice/" in name for name in function.documents) == BATCH)
    await firestore.until_rows("eventarc_positions", "sequence", [(2_000 + BATCH,)])
    await firestore.until_rows("eventarc_groups", "count(*)", [(1,)])
    await firestore.stop()
    release.set()
    function.events.clear()

    await firestore.start(on_note)
    await until(lambda: len(set(function.documents)) == 2_000)
    await firestore.until_rows("change_consumers", "sequence", [(2_000 + BATCH,)])

    assert not [name for name in function.documents if "/alice/" in name]


async def test_a_changed_pattern_forgets_the_progress_of_groups(
    firestore: Firestore, function: Function, on_note: dict[str, Any]
) -> None:
    """Documents have other groups then. Events may be repeated, but none is lost."""
    release = hang(function, lambda name: name.endswith("/0"))
    await firestore.start(on_note | {"concurrency": 2})
    await firestore.write("users/alice/notes/0", "users/bob/notes/1")
    await until(lambda: len(function.events) == 2)
    await firestore.stop()
    function.events.clear()
    release.set()

    await firestore.start(on_note | {"document": "{collection}/{user}/notes/{note}"})
    await until(lambda: "users/alice/notes/0" in function.documents)
    await firestore.until_rows("change_consumers", "sequence", [(2,)])


@pytest.mark.parametrize("step_seconds", [-3600.0, 2 * 86_400.0])
async def test_a_step_of_the_clock_neither_delays_retries_nor_gives_events_up(
    firestore: Firestore,
    function: Function,
    on_note: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    step_seconds: float,
) -> None:
    """An hour back or two days forward."""
    function.respond_with(500)
    await firestore.start(on_note)
    await firestore.write("users/alice/notes/a")
    await until(lambda: len(function.events) >= 2)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + step_seconds)
    monkeypatch.setattr(time, "time_ns", lambda: int((now() + step_seconds) * 1e9))
    function.events.clear()

    await until(lambda: len(function.events) >= 7)

    assert await firestore.rows("eventarc_undelivered", "state") == [("retrying",)]


async def test_the_time_between_two_runs_does_not_count_as_retention(
    firestore: Firestore, function: Function, on_note: dict[str, Any]
) -> None:
    """The monotonic clock starts at another time after a reboot, so only differences of saved times count."""
    function.respond_with(500)
    await firestore.start(on_note)
    await firestore.write("users/alice/notes/a")
    await firestore.until_rows("eventarc_undelivered WHERE attempts > 2", "state", [("retrying",)])
    await firestore.stop()
    connection = sqlite3.connect(firestore.path)
    with contextlib.closing(connection), connection:
        connection.execute("UPDATE eventarc_undelivered SET first_failure = first_failure - 1e6, saved = saved - 1e6")
    function.events.clear()

    await firestore.start(on_note)
    await until(lambda: len(function.events) >= 7)

    assert await firestore.rows("eventarc_undelivered", "state") == [("retrying",)]


async def test_the_status_of_a_trigger_is_shown(
    firestore: Firestore, function: Function, on_note: dict[str, Any]
) -> None:
    """On the command line and in the metrics. The list of undelivered events has attempts and the last problem."""

    async def fail(event: Event) -> int:
        return 503 if event.document.endswith("bad") else 200

    function.respond = fail
    await firestore.start(on_note)
    await firestore.write("users/alice/notes/bad", "users/alice/notes/good")
    await firestore.until_rows("eventarc_undelivered WHERE attempts > 2", "state", [("retrying",)])
    port = free_port()
    endpoints = AdminEndpoints(firestore.storage, firestore.server, (), firestore.dispatcher.metrics)
    await endpoints.start("127.0.0.1", port)
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        metrics = await response.text()
    await endpoints.stop()

    code, status = await command(firestore, "status")
    _, listing = await command(firestore, "undelivered")

    assert code == 0
    assert "1 retrying, 0 quarantined, 0 given up, 0 dead" in status
    assert "/documents/users/alice/notes/bad  retrying" in listing
    assert "times: 503 OK" in listing
    assert 'eventarc_events{state="retrying",trigger="on_written"} 1' in metrics
    assert 'eventarc_events{state="dead",trigger="on_written"} 0' in metrics
    assert 'eventarc_oldest_event_age_seconds{trigger="on_written"} ' in metrics
