"""Concurrent writes whose result can be checked after a crash.

A cell is one or several documents that are always written together, by one writer at a time. After a crash all of its
documents must hold the same fields: those of the last acknowledged write, or of the write that was in flight.

Counters are incremented in transactions that also write a record. Each counter must equal the number of its records.
The client retries no write, because a retry could reach the restarted server.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.api_core.exceptions import Aborted, NotFound, ServiceUnavailable
from google.cloud.firestore_v1.async_batch import AsyncWriteBatch
from google.cloud.firestore_v1.bulk_batch import BulkWriteBatch

from tests.torture.machine import Clients

DATABASE = "projects/p/databases/(default)"
T = TypeVar("T")
Fields = dict[str, Any] | None

GROUPS, GROUP_SIZE, ROWS, COUNTERS = 12, 4, 240, 3
TAGS, LABELS = ("red", "green", "blue", "white"), ("a", "b", "c", "d")


@dataclass
class Cell:
    """Documents that are written together: the last acknowledged fields, and fields of a write in flight."""

    paths: tuple[str, ...]
    acknowledged: Fields = None
    in_flight: tuple[Fields, ...] = ()

    def check(self, stored: list[Fields]) -> None:
        """Check the stored fields after a crash, and continue from them."""
        assert all(each == stored[0] for each in stored), f"partial commit: {self} holds {stored}"
        expected = (self.acknowledged, *self.in_flight)
        assert stored[0] in expected, f"lost write: {self} holds {stored[0]}"
        self.acknowledged, self.in_flight = stored[0], ()


class Workload:
    """Writes documents, and records which writes were acknowledged."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._numbers = itertools.count(1)
        self.groups = [Cell(tuple(f"groups/{group}-{i}" for i in range(GROUP_SIZE))) for group in range(GROUPS)]
        self.rows = [Cell((f"rows/{row}",)) for row in range(ROWS)]
        self._increments: list[str] = []  # acknowledged since the last crash
        self.commit_times: list[Any] = []  # acknowledged since the last crash
        self.acknowledged = 0

    async def run(self, clients: Clients) -> None:
        """Write until the server is killed."""
        async with asyncio.TaskGroup() as workers:
            for group in self.groups:
                workers.create_task(_repeat_until_killed(self._commit, clients.concurrent, group))
            for start in range(3):
                workers.create_task(_repeat_until_killed(self._batch_write, clients.bulk, self.rows[start::3]))
            for counter in (*range(COUNTERS), *range(COUNTERS)):
                workers.create_task(_repeat_until_killed(self._increment, clients.api, counter))

    def pop_increments(self) -> list[str]:
        """Return and clear the records acknowledged since the last crash."""
        increments, self._increments = self._increments, []
        return increments

    def _fields(self) -> Fields:
        if self._chance.random() < 0.15:
            return None
        labels = self._chance.sample(LABELS, 2)
        return {"tag": self._chance.choice(TAGS), "number": next(self._numbers), "labels": labels, "text": "x" * 100}

    async def _commit(self, client: Any, group: Cell) -> None:
        batch = AsyncWriteBatch(client)
        fields = self._fields()
        for path in group.paths:
            _add(batch, client.document(path), fields)
        group.in_flight = (fields,)
        await batch.commit(retry=None)
        group.acknowledged, group.in_flight = fields, ()
        self.acknowledged += 1
        self.commit_times.append(batch.commit_time)

    async def _batch_write(self, client: Any, rows: list[Cell]) -> None:
        batch = BulkWriteBatch(client)
        chosen = {row.paths[0]: (row, self._fields()) for row in self._chance.sample(rows, 20)}
        for path, (row, fields) in chosen.items():
            _add(batch, client.document(path), fields)
            row.in_flight = (fields,)
        response = await asyncio.to_thread(batch.commit, retry=None)
        for status, (row, fields) in zip(response.status, chosen.values(), strict=True):
            assert status.code == 0, status
            row.acknowledged, row.in_flight = fields, ()
            self.acknowledged += 1

    async def _increment(self, api: Any, counter: int) -> None:
        record = f"increments/{counter}-{next(self._numbers)}"
        begun = await api.begin_transaction(request={"database": DATABASE}, retry=None)
        reads = {"name": _name(f"counters/{counter}"), "transaction": begun.transaction}
        try:
            total = (await api.get_document(request=reads, retry=None)).fields["total"].integer_value
        except NotFound:
            total = 0
        writes = [
            _update(f"counters/{counter}", "total", total + 1),
            _update(record, "counter", counter),
        ]
        commit = {"database": DATABASE, "transaction": begun.transaction, "writes": writes}
        committed = await api.commit(request=commit, retry=None)
        self._increments.append(record)
        self.acknowledged += 1
        self.commit_times.append(committed.commit_time)


def _name(path: str) -> str:
    return f"{DATABASE}/documents/{path}"


def _update(path: str, field: str, number: int) -> Any:
    return {"update": {"name": _name(path), "fields": {field: {"integer_value": number}}}}


def _add(batch: Any, reference: Any, fields: Fields) -> None:
    if fields is None:
        batch.delete(reference)
    else:
        batch.set(reference, fields)


async def _repeat_until_killed(step: Callable[[Any, T], Awaitable[None]], client: Any, subject: T) -> None:
    while True:
        try:
            await step(client, subject)
        except Aborted:
            continue  # another transaction was first
        except ServiceUnavailable:
            return
