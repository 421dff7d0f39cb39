"""kill -9 at random times, under concurrent writes, transactions and event deliveries.

Environment variables: `TORTURE_KILLS` is the number of kills. `TORTURE_SEED` repeats the random choices of a run,
but not the order of concurrent calls.
"""

import asyncio
import itertools
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

from google.cloud.firestore import FieldFilter, Query

from infra.embedded.firestore.encoding import path_encoding
from infra.embedded.firestore.indexes import index_registry
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.indexes.entry_tables import EntryTables
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change
from tests.infra.eventarc.machine import until
from tests.torture.machine import TIMEOUT_SECONDS, Clients, Firestore, Receiver
from tests.torture.workload import COUNTERS, LABELS, TAGS, Fields, Workload

KILLS = int(os.environ.get("TORTURE_KILLS", "6"))
SEED = int(os.environ.get("TORTURE_SEED", random.SystemRandom().randrange(1 << 32)))
PAGE = 1_000


async def test_no_acknowledged_write_is_lost_and_no_commit_is_partial(tmp_path: Path) -> None:
    """After each crash, writes, transactions and indexes are consistent. In the end every event is delivered."""
    print(f"TORTURE_SEED={SEED} TORTURE_KILLS={KILLS}")
    chance = random.Random(SEED)
    receiver = Receiver(random.Random(SEED))
    firestore = Firestore(tmp_path, receiver.url)
    workload = Workload(chance)
    latest: Any = None
    await receiver.start()
    try:
        await firestore.start()
        for _ in range(KILLS):
            clients = firestore.clients()
            writing = asyncio.create_task(workload.run(clients))
            await asyncio.wait([writing], timeout=chance.uniform(0.02, 0.8))
            await firestore.kill()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await writing  # responses that arrived before the kill count
            await clients.close()
            await firestore.start()
            clients = firestore.clients()
            await check_writes(clients, workload)
            await check_counters(clients, workload)
            await check_indexes(clients)
            latest = check_commit_times(workload, latest)
            await clients.close()
        await firestore.kill()
        changes = await check_file(firestore.data)
        await firestore.start()
        await until(lambda: not receiver.missing(changes), TIMEOUT_SECONDS)
    finally:
        await firestore.kill()
        await receiver.stop()
    print(
        f"{KILLS} kills, {workload.acknowledged} writes acknowledged, {len(changes)} changes, "
        f"{receiver.requests} events sent, {len(receiver.acknowledged)} acknowledged"
    )


async def check_writes(clients: Clients, workload: Workload) -> None:
    """Every cell holds the last acknowledged write or the one in flight, in all of its documents."""
    cells = (*workload.groups, *workload.rows)
    references = [clients.concurrent.document(path) for cell in cells for path in cell.paths]
    stored: dict[str, Fields] = {}
    async for snapshot in clients.concurrent.get_all(references):
        stored[snapshot.reference.path] = snapshot.to_dict()
    for cell in cells:
        cell.check([stored[path] for path in cell.paths])


async def check_counters(clients: Clients, workload: Workload) -> None:
    """Every counter equals the number of its records, and every acknowledged record is stored."""
    for counter in range(COUNTERS):
        total = (await clients.concurrent.document(f"counters/{counter}").get()).to_dict() or {"total": 0}
        records = clients.concurrent.collection("increments").where(filter=FieldFilter("counter", "==", counter))
        (((counted,),),) = [await records.count().get()]
        assert total["total"] == counted.value
    acknowledged = [clients.concurrent.document(path) for path in workload.pop_increments()]
    assert all([snapshot.exists async for snapshot in clients.concurrent.get_all(acknowledged)])


async def check_indexes(clients: Clients) -> None:
    """Queries on automatic, composite and merged indexes return the documents that match."""
    rows = clients.concurrent.collection("rows")
    listed = {
        snapshot.id: snapshot.to_dict() async for snapshot in rows.stream()
    }  # a scan by name, which uses no index
    by_number = sorted(listed, key=lambda row: -listed[row]["number"])
    assert await _ids(rows.order_by("number", direction=Query.DESCENDING)) == by_number
    for tag, label in zip(TAGS, LABELS, strict=True):
        tagged = rows.where(filter=FieldFilter("tag", "==", tag))
        expected = [row for row in by_number if listed[row]["tag"] == tag]
        assert sorted(await _ids(tagged)) == sorted(expected)
        assert await _ids(tagged.order_by("number", direction=Query.DESCENDING)) == expected
        labelled = tagged.where(filter=FieldFilter("labels", "array_contains", label))
        assert sorted(await _ids(labelled)) == sorted(row for row in expected if label in listed[row]["labels"])


async def _ids(query: Any) -> list[str]:
    return [snapshot.id for snapshot in await query.get()]


def check_commit_times(workload: Workload, latest: Any) -> Any:
    """Each commit time is unique and later than all commit times before the last crash."""
    times, workload.commit_times = workload.commit_times, []
    assert len(set(times)) == len(times)
    assert not times or latest is None or min(times) > latest
    return max(times, default=latest)


async def check_file(path: Path) -> list[Change]:
    """Check that commit times rise and that index entries match the documents. Return all changes."""
    storage = Storage(path)
    try:
        changes: list[Change] = []
        while page := await storage.changes(changes[-1].sequence if changes else 0, PAGE):
            changes += page
        for earlier, later in itertools.pairwise(changes):
            assert earlier.sequence < later.sequence
            assert earlier.commit_time <= later.commit_time
        await storage.read(check_entries)
    finally:
        await storage.close()
    return changes


def check_entries(connection: sqlite3.Connection) -> None:
    """The file has exactly the index entries of its documents."""
    catalog, registry = Catalog(), index_registry.IndexRegistry(Definitions())
    catalog.load(connection)
    registry.load(connection)
    expected: set[tuple[int, bytes, int]] = set()
    for collection_number, path, document in connection.execute(
        "SELECT d.collection_number, d.path, v.document FROM documents d JOIN versions v ON v.sequence = d.version"
    ):
        collection_id, document_id = path_encoding.decode_path(path)[-2:]
        keys = registry.indexer(collection_id).entries(path, document_id, Document.FromString(document))
        expected.update((collection_number, key, size) for key, size in keys.items())
    assert expected
    stored = list(EntryTables(connection).rows())
    assert (len(stored), set(stored)) == (len(expected), expected)
