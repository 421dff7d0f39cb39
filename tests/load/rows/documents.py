"""The embedded Firestore alone on one core, its client on the other, compared with plain SQLite.

The baseline is the rate at which SQLite inserts the same rows in transactions of 500. A time is compared with the
time of as many inserts.
"""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from operator import itemgetter
from typing import Any

from storage.firestore import encoding
from tests.load import machine, stack_processes
from tests.load.firestore_client import Firestore, StructuredQuery, Target
from tests.load.plan import Plan, attempt, median
from tests.load.process import Busy, Failed, Process
from tests.load.table import MIB, SQLITE, Figure, Goal, Row

TOGETHER = 500
IN_FLIGHT = 2
CLIENTS = 64
PAGE = 50
PAGES = 300
TARGETS, STREAMS = 1_000, 10
COMMITS_WATCHED = 20
SQLITE_ROWS = 20_000
TEXT = "x" * 940  # with its name and two other fields, a document has about 1 KB
PATIENCE_SECONDS = 60.0


class _Measured:
    """A Firestore, several clients, and the insert rate of plain SQLite."""

    def __init__(self, plan: Plan, address: str, pid: int, inserts: float) -> None:
        self.plan = plan
        self.address = address
        self.pid = pid
        self.inserts = inserts

    def client(self) -> Firestore:
        """Return a client with its own connection."""
        return Firestore.connect(self.address, stack_processes.PROJECT)

    def rate(self, what: str, rate: float, unit: str, *, note: str = "", goal: float = 0) -> Row:
        """Return a row for a rate."""
        goals = [Goal(f"{goal:,.0f}/s", rate >= goal)] if goal else []
        return Row(what, Figure(rate, unit, note), {SQLITE: Figure(self.inserts, "rows/s")}, goals)

    def time(self, what: str, seconds: float, rows: int, *, note: str = "", goal: float = 0) -> Row:
        """Return a row for a time, compared with the time of as many inserts."""
        goals = [Goal(f"{goal * 1000:.0f} ms", seconds <= goal)] if goal else []
        inserting = Figure(rows / self.inserts * 1000, "ms", f"{rows:,} inserts", more_is_better=False)
        return Row(what, Figure(seconds * 1000, "ms", note, more_is_better=False), {SQLITE: inserting}, goals)


def embedded_firestore(plan: Plan) -> Iterator[Row]:
    """Measure writes, reads, a page, a fan-out, memory and the start, in this order, on the same data."""
    inserts = median([_insert(plan) for _ in range(plan.runs)], by=float)
    folder = plan.new_folder("documents")
    commands = stack_processes.Commands.of(folder)
    with commands.firestore(plan.placement.one) as process:
        measured = _Measured(plan, commands.address, process.pid, inserts)
        for work in (_batch_writes, _commits, _point_reads, _pages, _fan_out):
            yield from attempt(f"Firestore:{work.__name__.replace('_', ' ')}", partial(_row, work, measured))
        resident = machine.resident_bytes(process.pid) / MIB
        figure = Figure(resident, "MiB", more_is_better=False)
        yield Row("Firestore: resident memory after these rows", figure, goals=[Goal("300 MiB", resident <= 300)])
    yield measured.time(
        f"Firestore: start with {plan.documents:,} documents",
        median([_start(commands.firestore(plan.placement.one), measured) for _ in range(plan.runs)], by=float),
        plan.documents,
        goal=1,
    )


def _row(work: Callable[[_Measured], Coroutine[Any, Any, Row]], measured: _Measured) -> Iterator[Row]:
    yield asyncio.run(work(measured))


def _insert(plan: Plan) -> float:
    """Insert rows of the same size with plain SQLite, equally durable, and return the rate."""
    folder = plan.new_folder("sqlite")
    rows = [(f"documents/{number:09}", _serialized(number)) for number in range(SQLITE_ROWS)]
    with contextlib.closing(sqlite3.connect(folder / "raw.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE documents (name TEXT PRIMARY KEY, document BLOB) WITHOUT ROWID")
        began = time.perf_counter()
        for start in range(0, SQLITE_ROWS, TOGETHER):
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO documents VALUES (?, ?)", rows[start : start + TOGETHER])
            connection.execute("COMMIT")
        return SQLITE_ROWS / (time.perf_counter() - began)


async def _batch_writes(measured: _Measured) -> Row:
    total = measured.plan.documents
    firestore = measured.client()
    async with firestore:
        await firestore.batch_write(_writes(firestore, "warming", 0))
        starts = iter(range(0, total, TOGETHER))
        ended: list[float] = []

        async def write() -> None:
            for start in starts:
                await firestore.batch_write(_writes(firestore, "documents", start))
                ended.append(time.perf_counter())

        began = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(IN_FLIGHT)))
    tenth = len(ended) // 10
    early, late = tenth / (ended[tenth - 1] - began), tenth / (ended[-1] - ended[-1 - tenth])
    _expect_count(measured, "documents", total)
    return measured.rate(
        f"Firestore: BatchWrite of {TOGETHER} one-KB documents, up to {total:,}",
        total / (ended[-1] - began),
        "documents/s",
        note=f"first tenth {early * TOGETHER:,.0f}, last {late * TOGETHER:,.0f}",
        goal=8_000,
    )


async def _commits(measured: _Measured) -> Row:
    numbers = iter(range(10**9))

    async def commit(firestore: Firestore) -> None:
        await firestore.commit([_write(firestore, "commits", next(numbers))])

    rate, note, acknowledged = await _at_once(measured, commit)
    _expect_count(measured, "commits", acknowledged)
    return measured.rate(f"Firestore: single Commits from {CLIENTS} clients", rate, "commits/s", note=note, goal=2_500)


async def _point_reads(measured: _Measured) -> Row:
    chance = random.Random(1)

    async def read(firestore: Firestore) -> None:
        number = chance.randrange(measured.plan.documents)
        found = await firestore.get(firestore.name(f"documents/{number:09}"))
        if found.fields["number"].integer_value != number:
            raise Failed(f"the read returned another document than {number}")

    rate, note, _ = await _at_once(measured, read)
    return measured.rate(f"Firestore: point reads by {CLIENTS} clients", rate, "reads/s", note=note)


async def _pages(measured: _Measured) -> Row:
    chance = random.Random(1)
    seconds = []
    async with measured.client() as firestore:
        for _ in range(PAGES):
            first = chance.randrange(measured.plan.documents - PAGE)
            began = time.perf_counter()
            page = await firestore.query(_page(first))
            seconds.append(time.perf_counter() - began)
            if [document.fields["number"].integer_value for document in page] != list(range(first, first + PAGE)):
                raise Failed(f"the page from {first} holds other documents")
    seconds.sort()
    return measured.time(
        f"Firestore: page of {PAGE} by an indexed range out of {measured.plan.documents:,}",
        seconds[PAGES // 2],
        PAGE,
        note=f"p99 {seconds[PAGES * 99 // 100] * 1000:.3g} ms",
        goal=0.010,
    )


async def _fan_out(measured: _Measured) -> Row:
    """Measure the time from a commit until each target, over several streams, has its change."""
    fan = _Fan()
    seconds = []
    async with contextlib.AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
        writer = await opened.enter_async_context(measured.client())
        calls = []
        for _ in range(STREAMS):
            firestore = await opened.enter_async_context(measured.client())
            calls.append(firestore.listen([_target(firestore, each + 1) for each in range(TARGETS // STREAMS)]))
            tasks.create_task(fan.listen(calls[-1]))
        await fan.wait_for(lambda: fan.current == TARGETS)
        for number in range(1 + COMMITS_WATCHED):
            fan.changes = 0
            began = time.perf_counter()
            await writer.commit([_write(writer, "watched", number)])
            await fan.wait_for(lambda: fan.changes >= TARGETS)
            seconds += [time.perf_counter() - began] if number else []
        for call in calls:
            call.cancel()
    what = f"Firestore: Listen, one commit to {TARGETS:,} targets on {STREAMS} streams"
    return measured.time(what, median(seconds, by=float), TARGETS)


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
        async with asyncio.timeout(PATIENCE_SECONDS), self._arrived:
            await self._arrived.wait_for(condition)


def _start(process: Process, measured: _Measured) -> float:
    async def read() -> None:
        async with measured.client() as firestore:
            await firestore.get(firestore.name(f"documents/{0:09}"))

    began = time.perf_counter()
    with process:
        asyncio.run(read())
        return time.perf_counter() - began


async def _at_once(measured: _Measured, work: Callable[[Firestore], Awaitable[None]]) -> tuple[float, str, int]:
    """Run many clients at once, several times. Return the median rate and the total count."""
    done = 0

    async def client(firestore: Firestore, until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await work(firestore)
            done += 1

    rates = []
    async with contextlib.AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(measured.client()) for _ in range(CLIENTS)]
        for _ in range(1 + measured.plan.runs):
            before, began, busy = done, time.perf_counter(), Busy(measured.pid)
            await asyncio.gather(*(client(each, began + measured.plan.seconds) for each in clients))
            share = busy.share()
            rate = (done - before) / (time.perf_counter() - began)
            rates.append((rate, f"store {share:.0%}, {rate / share:,.0f}/s per core"))
    return *median(rates[1:], by=itemgetter(0)), done


def _expect_count(measured: _Measured, collection: str, acknowledged: int) -> None:
    stored = stack_processes.count(stack_processes.client(measured.address), collection)
    if stored != acknowledged:
        raise Failed(f"{acknowledged} writes were acknowledged, {stored} documents are stored")


def _writes(firestore: Firestore, collection: str, start: int) -> list[Any]:
    return [_write(firestore, collection, number) for number in range(start, start + TOGETHER)]


def _write(firestore: Firestore, collection: str, number: int) -> Any:
    return encoding.to_write(firestore.name(f"{collection}/{number:09}"), _document(number))


def _document(number: int) -> dict[str, object]:
    return {"number": number, "even": number % 2 == 0, "text": f"{number}{TEXT}"}


def _serialized(number: int) -> bytes:
    serialized: bytes = encoding.to_write(f"documents/{number:09}", _document(number)).update.SerializeToString()
    return serialized


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
