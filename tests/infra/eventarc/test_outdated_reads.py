"""Rows of undelivered events can change while they are read. An outdated row causes no attempt to send its event."""

import asyncio
from typing import Any

import pytest

from infra.embedded.eventarc.delivery.delivery_store import DeliveryStore, Suspect
from tests.infra.eventarc.machine import Event, Firestore, Function, until


async def test_a_suspect_that_is_acknowledged_during_the_read_is_not_sent_again(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row does not exist any more, and loading it stopped the delivery of all events."""
    both_arrived, has_read, outdated = asyncio.Event(), asyncio.Event(), asyncio.Event()
    read, save = DeliveryStore.suspects, DeliveryStore.save

    async def break_first_connections(_: Event) -> int | None:
        if len(function.events) > 2:
            return 200
        if len(function.events) == 2:
            both_arrived.set()
        await both_arrived.wait()
        return None

    async def read_slowly(self: DeliveryStore, limit: int) -> list[Suspect]:
        suspects = await read(self, limit)
        if len(suspects) == 2 and len(function.events) > 2 and not outdated.is_set():
            has_read.set()
            await firestore.until_rows("eventarc_undelivered", "sequence", [(2,)])
            outdated.set()
        return suspects

    async def save_after_read(self: DeliveryStore, *arguments: Any) -> None:
        if len(function.events) > 2:
            await has_read.wait()
        await save(self, *arguments)

    monkeypatch.setattr(DeliveryStore, "suspects", read_slowly)
    monkeypatch.setattr(DeliveryStore, "save", save_after_read)
    function.respond = break_first_connections
    await firestore.start(on_written)
    await firestore.write("samples/a", "samples/b")

    await until(lambda: len(function.events) == 4)
    await firestore.until_rows("eventarc_undelivered", "sequence", [])

    assert outdated.is_set()
    assert sorted(function.documents) == ["samples/a", "samples/a", "samples/b", "samples/b"]


async def test_a_slow_event_whose_row_is_saved_during_the_read_is_not_sent_twice(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that is in flight for more than a second gets a row, which looks like the row of a due retry."""
    release, read_again = asyncio.Event(), asyncio.Event()
    reads = 0
    read = DeliveryStore.due

    async def hang(_: Event) -> int:
        await release.wait()
        return 200

    async def read_late(self: DeliveryStore, *arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 1:
            await firestore.until_rows("eventarc_undelivered", "sequence", [(1,)])
        else:
            read_again.set()
        return await read(self, *arguments)

    monkeypatch.setattr(DeliveryStore, "due", read_late)
    function.respond = hang
    await firestore.start(on_written)
    await firestore.write("samples/a")
    await until(read_again.is_set)
    release.set()
    await firestore.until_rows("eventarc_undelivered", "sequence", [])

    assert function.documents == ["samples/a"]
