"""Events are still delivered if the disk is full or fails, although the state of deliveries cannot be saved.

They are also delivered if a page of the data file is damaged, except the events in this page.
"""

import asyncio
import sqlite3
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from google.api_core.exceptions import ResourceExhausted

from infra.embedded.eventarc import dispatcher, trigger
from infra.embedded.eventarc.delivery import event_reader, fair_queue
from infra.embedded.eventarc.delivery.delivery_store import DeliveryStore
from infra.embedded.eventarc.dispatcher import Dispatcher
from infra.embedded.firestore.errors import unavailable
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.eventarc.machine import PATIENCE_SECONDS, Firestore, Function, until
from tests.infra.firestore.data_file.data_files import damage_error, damage_page


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event delivery starts again soon."""
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.01)


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


async def test_delivery_continues_on_a_full_disk(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """Acknowledged writes are delivered while the disk is full, and later writes afterwards."""
    await firestore.start(on_written)

    function.respond_with(500)
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


CANNOT_READ = unavailable("The disk cannot read the data file: Input/output error.")


@pytest.mark.parametrize("error", [disk_is_full(), CANNOT_READ, damage_error()])
async def test_delivery_starts_when_the_data_file_can_be_read_and_written(
    firestore: Firestore,
    function: Function,
    on_written: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """The server starts and serves reads before. Events that were stored before are delivered later."""
    function.respond_with(500)
    await firestore.start(on_written)
    await firestore.write("samples/before")
    await firestore.until_rows("eventarc_undelivered", "count(*)", [(1,)])
    await firestore.stop()
    function.respond = function.acknowledge
    with monkeypatch.context() as failing:
        failing.setattr(Storage, "execute", AsyncMock(side_effect=error))
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
    save, calls = DeliveryStore.save, list[Any]()

    async def fail_once(self: DeliveryStore, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise CANNOT_READ
        await save(self, *arguments)

    monkeypatch.setattr(DeliveryStore, "save", fail_once)
    await firestore.start(on_written)
    await firestore.write("samples/a")
    await until(lambda: len(calls) > 1)
    await firestore.write("samples/b")

    await until(lambda: "samples/b" in function.documents)


@pytest.mark.parametrize(
    ("owner", "method", "error"),
    [(Storage, "changes", CANNOT_READ), (Storage, "read", CANNOT_READ), (DeliveryStore, "due", damage_error())],
)
async def test_delivery_starts_again_if_changes_or_rows_cannot_be_read(
    firestore: Firestore,
    function: Function,
    on_written: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    error: Exception,
) -> None:
    """Otherwise Firestore would end, and start again and again, although it can serve all other documents."""
    await firestore.start(on_written)
    failing = AsyncMock(side_effect=error)
    with monkeypatch.context() as broken:
        broken.setattr(owner, method, failing)
        await firestore.write("samples/a")
        await until(lambda: failing.await_count > 3)

    await until(lambda: "samples/a" in function.documents)


@pytest.mark.parametrize("max_loaded", [1_000, 4], ids=["in memory", "as positions"])
async def test_only_the_events_in_a_damaged_page_are_lost(
    firestore: Firestore,
    function: Function,
    on_written: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    max_loaded: int,
) -> None:
    """The log names them. Without this, no event after the damaged page would ever be delivered."""
    monkeypatch.setattr(fair_queue, "MAX_LOADED_EVENTS", max_loaded)
    await firestore.start(on_written | {"url": "http://127.0.0.1:9/"})
    names = {f"samples/{number:02}" for number in range(60)}
    batch = firestore.client.batch()
    for name in sorted(names):
        batch.set(firestore.client.document(name), {"text": f"text-{name}-" + "x" * 500})
    await batch.commit()
    await firestore.stop()
    damage_page(firestore.path, b"text-samples/30-")

    await firestore.start(on_written)
    await firestore.write("samples/later")
    await until(lambda: "samples/later" in function.documents)
    await firestore.until_rows("change_consumers", "sequence", [(61,)])

    lost = names - set(function.documents)
    assert "samples/30" in lost
    assert len(lost) < 10
    logged = [record.getMessage() for record in caplog.records if "so its event is lost" in record.getMessage()]
    assert len(set(logged)) == len(lost)


async def test_no_event_is_lost_while_damage_can_be_a_failure_of_the_disk(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest check of the disk can be out of date."""
    await firestore.start(on_written)
    uncertain = Mock(side_effect=CANNOT_READ)
    with monkeypatch.context() as broken:
        broken.setattr(event_reader, "MAX_PENDING", 0)  # the reader then reads new changes from the file
        broken.setattr(Storage, "changes", AsyncMock(side_effect=damage_error()))
        broken.setattr(Storage, "changes_at", AsyncMock(side_effect=damage_error()))
        broken.setattr(Storage, "check_is_damage", uncertain)
        await firestore.write("samples/a")
        await until(lambda: uncertain.call_count > 3)

    await until(lambda: "samples/a" in function.documents)


async def test_failed_events_keep_their_pauses_if_delivery_starts_again(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that cannot be read would otherwise cause an attempt for each failed event every 5 s."""
    function.respond_with(500)
    await firestore.start(on_written | {"min_backoff_seconds": 600.0})
    await firestore.write("samples/a")
    await firestore.until_rows("eventarc_undelivered", "attempts", [(1,)])
    before = await firestore.rows("eventarc_undelivered", "attempts, due, first_failure, saved")
    failing = AsyncMock(side_effect=CANNOT_READ)
    with monkeypatch.context() as broken:
        broken.setattr(Storage, "changes", failing)
        broken.setattr(event_reader, "MAX_PENDING", 0)  # the reader then reads new changes from the file
        await firestore.write("other/a")
        await until(lambda: failing.await_count > 3)
    function.respond = function.acknowledge
    await firestore.write("samples/b")
    await until(lambda: "samples/b" in function.documents)

    assert await firestore.rows("eventarc_undelivered", "attempts, due, first_failure, saved") == before
    assert function.documents == ["samples/a", "samples/b"]


async def test_delivery_ends_although_the_last_save_fails(
    firestore: Firestore, function: Function, on_written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM did not end the process on a full disk: event delivery started again and again."""
    await firestore.start()
    delivering = Dispatcher(firestore.storage, trigger.read([on_written]))
    await delivering.open()
    running = asyncio.create_task(delivering.run())
    monkeypatch.setattr(DeliveryStore, "save", AsyncMock(side_effect=disk_is_full()))
    await firestore.write("samples/a")
    await until(lambda: "samples/a" in function.documents)

    running.cancel()
    await asyncio.wait([running], timeout=PATIENCE_SECONDS)

    assert running.cancelled()


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
