"""Events are still delivered if the disk is full or fails, although the state of deliveries cannot be saved."""

import asyncio
import sqlite3
from typing import Any
from unittest.mock import AsyncMock

import pytest
from google.api_core.exceptions import ResourceExhausted

from infra.embedded.eventarc import dispatcher, trigger
from infra.embedded.eventarc.delivery.deliveries import Deliveries
from infra.embedded.eventarc.dispatcher import Dispatcher
from infra.embedded.firestore.errors import unavailable
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.eventarc.machine import PATIENCE_SECONDS, Firestore, Function, until


async def limit(firestore: Firestore, more: int) -> None:
    """Let the file grow by at most `more` pages."""
    used = await firestore.storage.execute(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    pragma = f"PRAGMA max_page_count = {used + more}"
    await firestore.storage.execute(lambda connection: connection.execute(pragma).fetchone())


def disk_is_full() -> sqlite3.OperationalError:
    """Return the error of a write on a full disk."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def damage() -> sqlite3.DatabaseError:
    """Return the error of a read of a damaged page."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


async def test_delivery_continues_on_a_full_disk(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """Acknowledged writes are delivered while the disk is full, and later writes afterwards."""
    await firestore.start(on_written)

    async def fail(_: Any) -> int:
        return 500

    function.respond = fail
    await limit(firestore, 100)
    acknowledged = []
    try:
        for number in range(1_000):
            await firestore.client.document(f"samples/{number:03}").set({"text": "x" * 20_000}, retry=None)
            acknowledged.append(f"samples/{number:03}")
    except ResourceExhausted:
        pass
    await until(lambda: set(function.documents) == set(acknowledged))  # each attempt fails, and that must be saved

    function.respond = function.acknowledge
    await limit(firestore, 1_000)
    await firestore.client.document("samples/last").set({"n": 1}, retry=None)

    await until(lambda: "samples/last" in function.documents)
    await firestore.until_rows("eventarc_undelivered", "count(*)", [(0,)])


async def test_delivery_starts_when_the_disk_accepts_writes(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server starts on a full disk and serves reads. Events that were stored before are delivered later."""

    async def fail(_: Any) -> int:
        return 500

    function.respond = fail
    await firestore.start(on_written)
    await firestore.write("samples/before")
    await firestore.until_rows("eventarc_undelivered", "count(*)", [(1,)])
    await firestore.stop()
    function.respond = function.acknowledge
    with monkeypatch.context() as full_disk:
        full_disk.setattr(Storage, "execute", AsyncMock(side_effect=disk_is_full()))
        await firestore.start(on_written)
        attempts = len(function.events)
        assert (await firestore.client.document("samples/before").get()).exists

    await until(lambda: len(function.events) > attempts)
    await firestore.until_rows("eventarc_undelivered", "count(*)", [(0,)])


async def test_a_new_trigger_misses_no_write_of_a_start_on_a_full_disk(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may write to the disk before event delivery does. Documents of earlier starts cause no event."""
    await firestore.start()
    await firestore.write("samples/before")
    await firestore.stop()
    with monkeypatch.context() as full_disk:
        full_disk.setattr(Storage, "execute", AsyncMock(side_effect=disk_is_full()))
        await firestore.start(on_written)
        await firestore.write("samples/first")

    await firestore.until_rows("change_consumers", "sequence", [(2,)])

    assert function.documents == ["samples/first"]


async def test_delivery_continues_if_the_disk_cannot_read_the_file(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of deliveries is saved later."""
    save, calls = Deliveries.save, list[Any]()

    async def fail_once(self: Deliveries, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise unavailable("The disk cannot read the data file: Input/output error.")
        await save(self, *arguments)

    monkeypatch.setattr(Deliveries, "save", fail_once)
    await firestore.start(on_written)
    await firestore.write("samples/a")
    await until(lambda: len(calls) > 1)
    await firestore.write("samples/b")

    await until(lambda: "samples/b" in function.documents)


@pytest.mark.parametrize("error", [unavailable("The disk cannot read the data file: Input/output error."), damage()])
@pytest.mark.parametrize("method", ["changes", "read"])
async def test_delivery_starts_again_if_changes_or_rows_cannot_be_read(
    firestore: Firestore,
    function: Function,
    on_written: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    method: str,
) -> None:
    """Otherwise Firestore would end, and start again and again, although it can serve all other documents."""
    monkeypatch.setattr(dispatcher, "RESTART_SECONDS", 0.01)
    await firestore.start(on_written)
    failing = AsyncMock(side_effect=error)
    with monkeypatch.context() as broken:
        broken.setattr(Storage, method, failing)
        await firestore.write("samples/a")
        await until(lambda: failing.await_count > 3)

    await until(lambda: "samples/a" in function.documents)


async def test_an_error_that_is_not_of_the_disk_ends_event_delivery(
    firestore: Firestore, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process then ends with the error. Otherwise no event would be delivered, and no log line would say so."""
    await firestore.start()
    delivering = Dispatcher(firestore.storage, trigger.read([on_written]))
    errors = [disk_is_full(), sqlite3.OperationalError("no such table")]
    with monkeypatch.context() as failing:
        failing.setattr(Storage, "execute", AsyncMock(side_effect=errors))
        await delivering.open()

        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await delivering.run()
