"""Subscribers reconnect while results arrive and the API and Firestore are killed. Each receives each result once.

Environment variables: `TORTURE_SUBSCRIBERS` is the number of subscribers, `TORTURE_SECONDS` the duration,
`TORTURE_RATE` the results per second, and `TORTURE_SEED` repeats the random choices. The test writes results directly
to Firestore, as a function does, so that the CPU time is left for the subscribers.
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
MAX_CONNECTION_SECONDS = max(2.0, SECONDS / 10)
TIMEOUT_SECONDS = 60 + 20 * SECONDS  # after the last result was written
FIRST = "query { results(first: 1) { edges { cursor node { id } } } }"


class Writer:
    """Writes results at a rate, each exactly once, also while Firestore restarts."""

    def __init__(self, client: Any, submitter: str, fields: Mapping[str, Any]) -> None:
        self._client = client
        self._results = client.collection(f"submitters/{submitter}/results")
        self._fields = {**fields, "computed_at": SERVER_TIMESTAMP}
        self.written = 0
        self.seconds = 0.0

    async def run(self, seconds: float, rate: float) -> None:
        """Write for `seconds`. A batch is one commit, so its results share a time and are ordered by id."""
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
                break  # an earlier attempt was committed, but its response was lost
            except (GoogleAPICallError, RetryError):
                await asyncio.sleep(0.05)
            else:
                break
        self.written += len(ids)


@pytest.mark.timeout(TIMEOUT_SECONDS + 20 * SECONDS + 60)
async def test_every_subscriber_receives_every_result_once_and_in_order(tmp_path: Path) -> None:
    """Despite disconnects and kills, no result is missing or duplicated, and all subscribers receive one order."""
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
            reading = [asyncio.create_task(reader.run(session, total, MAX_CONNECTION_SECONDS)) for reader in readers]
            killing = asyncio.create_task(_kill(stack, began, chance))
            await writer.run(SECONDS, RATE)
            total.set_result(writer.written)
            wrote = time.monotonic()
            _, late = await asyncio.wait([killing, *reading], timeout=TIMEOUT_SECONDS)
            last = time.monotonic() - wrote
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        stored = await _stored(client, first)
        client.close()
    _check(readers, stored)
    print(
        f"{SUBSCRIBERS} subscribers, {writer.written} results at {writer.written / writer.seconds:.0f}/s, "
        f"{killing.result()} kills, {sum(reader.connections for reader in readers)} connections, "
        f"{sum(len(reader.received) for reader in readers)} deliveries, the last {last:.1f} s after the last result"
    )


async def _kill(stack: Stack, began: float, chance: random.Random) -> int:
    """Kill the API and then Firestore, each within its third of the duration, and wait until they are ready again."""
    times = (SECONDS * chance.uniform(0.25, 0.4), SECONDS * chance.uniform(0.55, 0.7))
    for time_of_kill, find in zip(times, (stack.api_pid, stack.firestore_pid), strict=True):
        await asyncio.sleep(began + time_of_kill - time.monotonic())
        os.kill(await anyio.to_thread.run_sync(find), signal.SIGKILL)
        await anyio.to_thread.run_sync(eventually, stack.is_ready)
    return len(times)


async def _stored(client: Any, first: str) -> list[str]:
    """Return the ids of all results except the first, in the order of their commit times and ids."""
    results = client.collection("submitters/local/results").select(["shard"])
    positions = [(snapshot.update_time, snapshot.id) async for snapshot in results.stream()]
    return [sample_id for _, sample_id in sorted(positions) if sample_id != first]


def _check(readers: list[Subscriber], stored: list[str]) -> None:
    assert stored
    for number, reader in enumerate(readers):
        assert not reader.errors, f"reader {number} received errors {reader.errors[:3]}"
        assert len(reader.received) == len(set(reader.received)), f"reader {number} received a result twice"
        missing = set(stored) - set(reader.received)
        assert not missing, f"reader {number} is missing {len(missing)} of {len(stored)} results"
        assert reader.received == stored, f"reader {number} received another order"
        cursors = [Cursor.decode(cursor) for cursor in reader.cursors]
        assert [cursor.id for cursor in cursors] == reader.received
