"""The work of the rows about Firestore alone: the same requests for the embedded Firestore and for Google's emulator.

Each function checks what is stored or read, and raises `Failed` if it is wrong.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from storage.firestore import encoding
from tests.load import stack_processes
from tests.load.firestore_client import Firestore, StructuredQuery, Target
from tests.load.plan import Plan, median
from tests.load.process import Busy, Failed
from tests.load.table import digits

TOGETHER = 500
"""Writes in one BatchWrite."""
CLIENTS = 64
PAGE = 50
TARGETS, STREAMS = 1_000, 10
_IN_FLIGHT = 2
_WARM_UP_BATCHES = 20
_PAGES = 300
_COMMITS = 300
_COMMITS_WATCHED = 20
FAN_OUT_SECONDS = 60.0
"""The whole fan-out may take this long. The embedded Firestore needs about three seconds."""
_TEXT = "x" * 940  # with its name and two other fields, a document has about 1 KB


@dataclass(frozen=True, slots=True)
class Server:
    """A Firestore on one core. `address` is its address, and `pid` its process."""

    address: str
    pid: int
    plan: Plan

    def client(self) -> Firestore:
        """Return a client with its own connection."""
        return Firestore.connect(self.address, stack_processes.PROJECT)


@dataclass(frozen=True, slots=True)
class Measure:
    """A rate per second, or a time in seconds. `note` has further figures."""

    value: float
    note: str = ""


async def batch_writes(server: Server) -> Measure:
    """Write all documents of the plan with BatchWrite. Return the rate of documents."""
    total = server.plan.documents
    firestore = server.client()
    async with firestore:
        for number in range(_WARM_UP_BATCHES):
            await firestore.batch_write(_writes(firestore, "warming", number * TOGETHER))
        starts = iter(range(0, total, TOGETHER))
        ended: list[float] = []

        async def write() -> None:
            for start in starts:
                await firestore.batch_write(_writes(firestore, "documents", start))
                ended.append(time.perf_counter())

        began = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(_IN_FLIGHT)))
    tenth = len(ended) // 10
    early, late = tenth / (ended[tenth - 1] - began), tenth / (ended[-1] - ended[-1 - tenth])
    _expect_count(server, "documents", total)
    note = f"first tenth {early * TOGETHER:,.0f}, last {late * TOGETHER:,.0f}"
    return Measure(total / (ended[-1] - began), note)


async def commits(server: Server) -> Measure:
    """Write single documents from many clients. Return the rate of commits."""
    numbers = iter(range(10**9))

    async def commit(firestore: Firestore) -> None:
        await firestore.commit([_write(firestore, "commits", next(numbers))])

    measured, acknowledged = await _at_once(server, commit)
    _expect_count(server, "commits", acknowledged)
    return measured


async def commit_alone(server: Server) -> Measure:
    """Write single documents one after the other. Return the median time of a commit."""
    async with server.client() as firestore:
        seconds = []
        for number in range(_COMMITS):
            began = time.perf_counter()
            await firestore.commit([_write(firestore, "alone", number)])
            seconds.append(time.perf_counter() - began)
    return _median_time(seconds)


async def point_reads(server: Server) -> Measure:
    """Read random documents from many clients. Return the rate of reads."""
    chance = random.Random(1)

    async def read(firestore: Firestore) -> None:
        number = chance.randrange(server.plan.documents)
        await read_document(firestore, number)

    measured, _ = await _at_once(server, read)
    return measured


async def read_document(firestore: Firestore, number: int) -> None:
    """Read one of the documents that `batch_writes` has written."""
    found = await firestore.get(firestore.name(f"documents/{number:09}"))
    if found.fields["number"].integer_value != number:
        raise Failed(f"the read returned another document than {number}")


async def pages(server: Server) -> Measure:
    """Read pages by ranges of a number. Return the median time of a page."""
    chance = random.Random(1)
    seconds = []
    async with server.client() as firestore:
        for _ in range(_PAGES):
            first = chance.randrange(server.plan.documents - PAGE)
            began = time.perf_counter()
            page = await firestore.query(_page(first))
            seconds.append(time.perf_counter() - began)
            if [document.fields["number"].integer_value for document in page] != list(range(first, first + PAGE)):
                raise Failed(f"the page from {first} holds other documents")
    return _median_time(seconds)


async def fan_out(server: Server) -> Measure:
    """Return the time from a commit until each target, over several streams, has its change.

    Raises `TimeoutError` after `FAN_OUT_SECONDS`.
    """
    fan = _Fan()
    seconds = []
    async with (
        asyncio.timeout(FAN_OUT_SECONDS),
        contextlib.AsyncExitStack() as opened,
        asyncio.TaskGroup() as tasks,
    ):
        writer = await opened.enter_async_context(server.client())
        calls = []
        for _ in range(STREAMS):
            firestore = await opened.enter_async_context(server.client())
            calls.append(firestore.listen([_target(firestore, each + 1) for each in range(TARGETS // STREAMS)]))
            tasks.create_task(fan.listen(calls[-1]))
        await fan.wait_for(lambda: fan.current == TARGETS)
        for number in range(1 + _COMMITS_WATCHED):
            fan.changes = 0
            began = time.perf_counter()
            await writer.commit([_write(writer, "watched", number)])
            await fan.wait_for(lambda: fan.changes >= TARGETS)
            seconds += [time.perf_counter() - began] if number else []
        for call in calls:
            call.cancel()
    return _median_time(seconds)


class _Fan:
    """The events of all streams: targets that are current, and changes per target."""

    def __init__(self) -> None:
        self.current = 0
        self.changes = 0
        self._arrived = asyncio.Condition()

    async def listen(self, call: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async for answer in call:
                if answer.HasField("document_change"):
                    self.changes += len(answer.document_change.target_ids)
                elif answer.target_change.target_change_type == answer.target_change.CURRENT:
                    self.current += len(answer.target_change.target_ids)
                else:
                    continue
                async with self._arrived:
                    self._arrived.notify_all()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        async with self._arrived:
            await self._arrived.wait_for(condition)


async def _at_once(server: Server, work: Callable[[Firestore], Awaitable[None]]) -> tuple[Measure, int]:
    """Run many clients at once, several times. Return the median rate and the total count."""
    done = 0

    async def client(firestore: Firestore, until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await work(firestore)
            done += 1

    rates = []
    async with contextlib.AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(server.client()) for _ in range(CLIENTS)]
        for _ in range(1 + server.plan.runs):
            before, began, busy = done, time.perf_counter(), Busy(server.pid)
            await asyncio.gather(*(client(each, began + server.plan.seconds) for each in clients))
            share = busy.share()
            rate = (done - before) / (time.perf_counter() - began)
            rates.append((rate, f"server {share:.0%}, {rate / share:,.0f}/s per core"))
    return Measure(*median(rates[1:], by=itemgetter(0))), done


def _median_time(seconds: list[float]) -> Measure:
    seconds.sort()
    return Measure(seconds[len(seconds) // 2], f"p99 {digits(seconds[len(seconds) * 99 // 100] * 1000)} ms")


def _expect_count(server: Server, collection: str, acknowledged: int) -> None:
    stored = stack_processes.count(stack_processes.client(server.address), collection)
    if stored != acknowledged:
        raise Failed(f"{acknowledged} writes were acknowledged, {stored} documents are stored")


def _writes(firestore: Firestore, collection: str, start: int) -> list[Any]:
    return [_write(firestore, collection, number) for number in range(start, start + TOGETHER)]


def _write(firestore: Firestore, collection: str, number: int) -> Any:
    return encoding.to_write(firestore.name(f"{collection}/{number:09}"), _document(number))


def _document(number: int) -> dict[str, object]:
    return {"number": number, "even": number % 2 == 0, "text": f"{number}{_TEXT}"}


def serialized(number: int) -> bytes:
    """Return the bytes of a document."""
    written: bytes = encoding.to_write(f"documents/{number:09}", _document(number)).update.SerializeToString()
    return written


def _page(first: int) -> Any:
    query = StructuredQuery(limit={"value": PAGE})
    query.from_.add(collection_id="documents")
    query.where.field_filter.field.field_path = "number"
    query.where.field_filter.op = query.where.field_filter.GREATER_THAN_OR_EQUAL
    query.where.field_filter.value.integer_value = first
    query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = "number"
    return query


def _target(firestore: Firestore, number: int) -> Any:
    query = StructuredQuery()
    query.from_.add(collection_id="watched")
    return Target(target_id=number, query={"parent": firestore.documents, "structured_query": query})
