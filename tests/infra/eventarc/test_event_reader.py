"""The reader takes new changes from the storage, and reads only the others from the file. Each is sent once."""

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest

from infra.embedded.eventarc import dispatcher
from infra.embedded.eventarc.delivery import event_reader
from infra.embedded.eventarc.delivery.fair_queue import FairQueue
from infra.embedded.firestore.errors import unavailable
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change
from tests.infra.eventarc.machine import Event, Firestore, Function, until


async def test_a_new_change_is_sent_without_a_read_of_the_file(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read of each change took 30 µs of CPU time per event."""
    reading = asyncio.Event()

    async def read_forever(*_: Any) -> list[Change]:
        reading.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Storage, "changes", read_forever)
    await firestore.start(on_written)
    await reading.wait()

    await firestore.write("samples/a", "other/a")
    await firestore.write("samples/b")
    await until(lambda: len(function.events) == 2)

    assert function.documents == ["samples/a", "samples/b"]


async def test_a_change_that_is_taken_during_a_read_of_the_file_is_sent_once(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read returns the change too."""
    reading, may_read, found = asyncio.Event(), asyncio.Event(), list[int]()
    read = Storage.changes

    async def read_late(self: Storage, after: int, limit: int) -> list[Change]:
        reading.set()
        await may_read.wait()
        changes = await read(self, after, limit)
        found.append(len(changes))
        return changes

    monkeypatch.setattr(Storage, "changes", read_late)
    await firestore.start(on_written)
    await reading.wait()  # of the changes after change 0
    await firestore.write("samples/a", "samples/b")
    await until(lambda: len(function.events) == 2)

    may_read.set()
    await until(lambda: found[-1:] == [0])
    await firestore.write("samples/c")
    await until(lambda: len(function.events) >= 3)
    await firestore.until_rows("change_consumers", "sequence", [(3,)])

    assert found[0] == 2
    assert sorted(function.documents) == ["samples/a", "samples/b", "samples/c"]


async def test_a_change_is_sent_although_another_observer_fails(
    firestore: Firestore, function: Function, on_written: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """For example, a bug in the feed of listeners must not stop the delivery of events."""
    await firestore.start(on_written)
    firestore.storage.observers.insert(0, Mock(side_effect=ValueError("a bug")))

    await firestore.write("samples/a")
    await until(lambda: function.documents == ["samples/a"])

    assert "An observer of changes failed" in caplog.text


async def test_a_change_that_cannot_be_taken_is_read_from_the_file(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery starts again, as after an error of reading."""
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.01)
    failing = Mock(side_effect=unavailable("no room"))
    await firestore.start(on_written)
    await firestore.write("samples/a")
    await until(lambda: function.documents == ["samples/a"])

    with monkeypatch.context() as broken:
        broken.setattr(FairQueue, "add", failing)
        await firestore.write("samples/b")
        await until(lambda: failing.called)
    await until(lambda: "samples/b" in function.documents)


async def test_changes_that_are_not_taken_are_read_from_the_file(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While too many events are pending, the reader takes no changes."""
    monkeypatch.setattr(event_reader, "MAX_PENDING", 3)
    monkeypatch.setattr(event_reader, "FULL_SECONDS", 0.01)
    may_respond = asyncio.Event()

    async def respond(_: Event) -> int:
        await may_respond.wait()
        return 200

    function.respond = respond
    await firestore.start(on_written)
    names = [f"samples/{number}" for number in range(12)]
    for start in range(0, len(names), 2):
        await firestore.write(*names[start : start + 2])
    await until(lambda: len(function.events) >= 1)

    may_respond.set()
    await until(lambda: len(function.events) >= len(names))
    await firestore.until_rows("change_consumers", "sequence", [(len(names),)])

    assert sorted(function.documents) == sorted(names)
