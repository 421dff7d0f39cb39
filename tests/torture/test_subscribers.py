"""Subscribers come and go while results arrive and the API and Firestore are killed: each has each result, once.

`TORTURE_SUBSCRIBERS`, `TORTURE_SECONDS` and `TORTURE_RATE` say how many, how long and how many results a second;
`TORTURE_SEED` repeats the choices. Results are written as a function writes them, straight to Firestore: this
machine is there for the readers.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import anyio
import pytest
from google.api_core.exceptions import AlreadyExists, GoogleAPICallError, RetryError
from google.cloud.firestore import SERVER_TIMESTAMP

from graphql_api.results.pagination import Cursor
from tests.stack import Stack, eventually
from tests.torture.subscribers import Subscriber, subscribers

SUBSCRIBERS = int(os.environ.get("TORTURE_SUBSCRIBERS", "20"))
SECONDS = float(os.environ.get("TORTURE_SECONDS", "8"))
RATE = float(os.environ.get("TORTURE_RATE", "200"))
SEED = int(os.environ.get("TORTURE_SEED", random.SystemRandom().randrange(1 << 32)))
SHARDS = 3
BATCHES_PER_SECOND = 20
MAX_VISIT_SECONDS = max(2.0, SECONDS / 10)
PATIENCE_SECONDS = 60 + 20 * SECONDS  # after the last result was written
FIRST = "query { results(first: 1) { edges { cursor node { id } } } }"


class Writer:
    """Writes results at a rate, each exactly once, whatever happens to Firestore meanwhile."""

    def __init__(self, client: Any, submitter: str, fields: Mapping[str, Any]) -> None:
        self._client = client
        self._results = client.collection(f"submitters/{submitter}/results")
        self._fields = {**fields, "computed_at": SERVER_TIMESTAMP}
        self.written = 0
        self.seconds = 0.0

    async def run(self, seconds: float, rate: float) -> None:
        """Write for so long; a batch is one commit, so its results have one time and only ids tell them apart."""
        began = time.monotonic()
        size = max(1, round(rate / BATCHES_PER_SECOND))
        for number in range(round(seconds * rate / size)):
            await asyncio.sleep(began + number / BATCHES_PER_SECOND - time.monotonic())
            await self._write([str(uuid4()) for _ in range(size)])
        self.seconds = time.monotonic() - began

    async def _write(self, ids: list[str]) -> None:
        for _ in range(1_000):
            batch = self._client.batch()
            for number, sample_id in enumerate(ids):
                batch.create(self._results.document(sample_id), {**self._fields, "shard": number % SHARDS})
            try:
                await batch.commit(retry=None, timeout=5)
            except AlreadyExists:
                break  # the answer to an earlier attempt was lost, its results were not
            except (GoogleAPICallError, RetryError):
                await asyncio.sleep(0.05)
            else:
                break
        self.written += len(ids)


@pytest.mark.timeout(PATIENCE_SECONDS + 20 * SECONDS + 60)
async def test_every_subscriber_has_every_result_once_and_in_order(tmp_path: Path) -> None:
    """However often they go away, whatever is killed: nothing is missing, nothing is doubled, all see one order."""
    print(f"TORTURE_SEED={SEED}")
    chance = random.Random(SEED)
    with Stack(tmp_path, DROPZONE_SHARDS=str(SHARDS), DROPZONE_MAX_BUFFERED_RESULTS="500") as stack:
        first = await anyio.to_thread.run_sync(lambda: stack.wait_for(stack.submit_fixture()["id"])["id"])
        ((edge,),) = (await anyio.to_thread.run_sync(stack.graphql, FIRST))["results"].values()
        client: Any = stack.async_firestore()
        template = await client.document(f"submitters/local/results/{first}").get()
        writer = Writer(client, "local", template.to_dict() or {})
        readers = list(subscribers(SUBSCRIBERS, f"{stack.url}/graphql", stack.key, edge["cursor"], chance))
        began = time.monotonic()
        total: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            reading = [asyncio.create_task(reader.run(session, total, MAX_VISIT_SECONDS)) for reader in readers]
            killing = asyncio.create_task(_kill(stack, began, chance))
            await writer.run(SECONDS, RATE)
            total.set_result(writer.written)
            wrote = time.monotonic()
            _, late = await asyncio.wait([killing, *reading], timeout=PATIENCE_SECONDS)
            last = time.monotonic() - wrote
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        stored = await _stored(client, first)
        client.close()
    _judge(readers, stored)
    print(
        f"{SUBSCRIBERS} subscribers, {writer.written} results at {writer.written / writer.seconds:.0f}/s, "
        f"{killing.result()} kills, {sum(reader.visits for reader in readers)} visits, "
        f"{sum(len(reader.seen) for reader in readers)} deliveries, the last {last:.1f} s after the last result"
    )


async def _kill(stack: Stack, began: float, chance: random.Random) -> int:
    """Kill the API and then Firestore, each within its third of the time, and see that they come back."""
    moments = (SECONDS * chance.uniform(0.25, 0.4), SECONDS * chance.uniform(0.55, 0.7))
    for moment, find in zip(moments, (stack.api_pid, stack.firestore_pid), strict=True):
        await asyncio.sleep(began + moment - time.monotonic())
        os.kill(await anyio.to_thread.run_sync(find), signal.SIGKILL)
        await anyio.to_thread.run_sync(eventually, stack.is_ready)
    return len(moments)


async def _stored(client: Any, first: str) -> list[str]:
    """Return all results but the first in the order of their writes, as Firestore has them."""
    results = client.collection("submitters/local/results").select(["shard"])
    places = [(snapshot.update_time, snapshot.id) async for snapshot in results.stream()]
    return [sample_id for _, sample_id in sorted(places) if sample_id != first]


def _judge(readers: list[Subscriber], stored: list[str]) -> None:
    assert stored
    for number, reader in enumerate(readers):
        assert not reader.faults, f"reader {number} was told {reader.faults[:3]}"
        assert len(reader.seen) == len(set(reader.seen)), f"reader {number} has results twice"
        missing = set(stored) - set(reader.seen)
        assert not missing, f"reader {number} lacks {len(missing)} of {len(stored)}"
        assert reader.seen == stored, f"reader {number} has another order"
        cursors = [Cursor.decode(cursor) for cursor in reader.cursors]
        assert [cursor.id for cursor in cursors] == reader.seen
