"""The embedded Firestore alone on one core, its client on the other, compared with Google's emulator and plain SQLite.

Google's emulator does the same work for the same client, on the same core. It keeps documents in memory only. The
baseline of SQLite is the rate at which it inserts the same rows in transactions of 500, equally durable. A time is
compared with the time of as many inserts.
"""

import asyncio
import contextlib
import sqlite3
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.google_emulator import firestore as google_emulator
from tests.load import firestore_work, machine, stack_processes
from tests.load.firestore_work import CLIENTS, PAGE, STREAMS, TARGETS, TOGETHER, Measure, Server
from tests.load.plan import Plan, attempt, median
from tests.load.process import Process
from tests.load.table import EMULATOR, MIB, SQLITE, Figure, Goal, Row
from tests.ports import free_port

SQLITE_ROWS = 20_000
MAX_MEMORY_MIB = 300
MAX_START_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Kind:
    """A row about a rate, or about a time, which is compared with that of `inserts` inserts.

    `goal` is a rate, or a time in seconds. `max_ratio` is the largest ratio to the time of Google's emulator.
    """

    what: str
    work: Callable[[Server], Coroutine[Any, Any, Measure]]
    unit: str
    inserts: int = 0
    goal: float = 0.0
    max_ratio: float = 1.0

    @property
    def is_rate(self) -> bool:
        return not self.inserts

    def figure(self, measured: Measure) -> Figure:
        if self.is_rate:
            return Figure(measured.value, self.unit, measured.note)
        return Figure(measured.value * 1000, "ms", measured.note, more_is_better=False)

    def of_sqlite(self, inserts_per_second: float) -> Figure:
        if self.is_rate:
            return Figure(inserts_per_second, "rows/s")
        note = f"{self.inserts:,} inserts"
        return Figure(self.inserts / inserts_per_second * 1000, "ms", note, more_is_better=False)


def embedded_firestore(plan: Plan) -> Iterator[Row]:
    """Measure writes, reads, a page, a fan-out, memory and the start, in this order, on the same data."""
    kinds = (
        _Kind(
            f"Firestore: BatchWrite of {TOGETHER} one-KB documents, up to {plan.documents:,}",
            firestore_work.batch_writes,
            "documents/s",
            goal=8_000,
        ),
        _Kind(f"Firestore: single Commits from {CLIENTS} clients", firestore_work.commits, "commits/s", goal=2_500),
        _Kind("Firestore: one Commit alone", firestore_work.commit_alone, "ms", inserts=1, max_ratio=1.3),
        _Kind(f"Firestore: point reads by {CLIENTS} clients", firestore_work.point_reads, "reads/s"),
        _Kind(
            f"Firestore: page of {PAGE} by an indexed range out of {plan.documents:,}",
            firestore_work.pages,
            "ms",
            inserts=PAGE,
            goal=0.010,
        ),
        _Kind(
            f"Firestore: Listen, one commit to {TARGETS:,} targets on {STREAMS} streams",
            firestore_work.fan_out,
            "ms",
            inserts=TARGETS,
        ),
    )
    inserts = median([_insert(plan) for _ in range(plan.runs)], by=float)
    commands = stack_processes.Commands.of(plan.new_folder("documents"))
    with ExitStack() as started:
        embedded = Server(commands.address, started.enter_context(commands.firestore(plan.placement.one)).pid, plan)
        emulator = _emulator(plan, started)
        for kind in kinds:
            yield from attempt(kind.what, partial(_row, kind, embedded, emulator, inserts))
        yield _memory(embedded, emulator)
    seconds = median(
        [_start(commands.firestore(plan.placement.one), commands.address, plan) for _ in range(plan.runs)], by=float
    )
    yield Row(
        f"Firestore: start with {plan.documents:,} documents",
        Figure(seconds * 1000, "ms", more_is_better=False),
        {SQLITE: Figure(plan.documents / inserts * 1000, "ms", f"{plan.documents:,} inserts", more_is_better=False)},
        [Goal(f"{MAX_START_SECONDS:g} s", seconds <= MAX_START_SECONDS)],
    )


def _emulator(plan: Plan, started: ExitStack) -> Server | str:
    """Start Google's emulator on the core of the embedded Firestore. Return why it does not run otherwise."""
    if google_emulator.find() is None:
        return "not installed"
    port = free_port()
    process = Process(
        [sys.executable, "-m", "tests.google_emulator.firestore", str(port)],
        plan.new_folder("emulator") / "emulator.log",
        ready=lambda: stack_processes.listens(port),
        processors=plan.placement.one,
    )
    return Server(f"127.0.0.1:{port}", started.enter_context(process).pid, plan)


def _row(kind: _Kind, embedded: Server, emulator: Server | str, inserts: float) -> Iterator[Row]:
    measured = asyncio.run(kind.work(embedded))
    own = kind.figure(measured)
    baselines: dict[str, Figure | str] = {SQLITE: kind.of_sqlite(inserts)}
    goals = []
    if kind.goal and kind.is_rate:
        goals.append(Goal(f"{kind.goal:,.0f}/s", measured.value >= kind.goal))
    elif kind.goal:
        goals.append(Goal(f"{kind.goal * 1000:.0f} ms", measured.value <= kind.goal))
    baselines[EMULATOR] = google = _of_emulator(kind, emulator)
    if isinstance(google, Figure):
        words = EMULATOR if kind.max_ratio == 1 else f"{kind.max_ratio:g} x the time of {EMULATOR}"
        goals.append(Goal(words, own.times_better_than(google) * kind.max_ratio >= 1))
    yield Row(kind.what, own, baselines, goals)


def _of_emulator(kind: _Kind, emulator: Server | str) -> Figure | str:
    """Measure Google's emulator. If this is not possible, return the reason."""
    if isinstance(emulator, str):
        return emulator
    try:
        return kind.figure(asyncio.run(kind.work(emulator)))
    except TimeoutError:
        return f"not finished in {firestore_work.FAN_OUT_SECONDS:.0f} s"


def _memory(embedded: Server, emulator: Server | str) -> Row:
    def resident(server: Server) -> Figure:
        return Figure(machine.resident_bytes(server.pid) / MIB, "MiB", more_is_better=False)

    own = resident(embedded)
    baselines = {EMULATOR: resident(emulator) if isinstance(emulator, Server) else emulator}
    goal = Goal(f"{MAX_MEMORY_MIB} MiB", own.value <= MAX_MEMORY_MIB)
    return Row("Firestore: resident memory after these rows", own, baselines, [goal])


def _insert(plan: Plan) -> float:
    """Insert rows of the same size with plain SQLite, equally durable, and return the rate."""
    folder = plan.new_folder("sqlite")
    rows = [(f"documents/{number:09}", firestore_work.serialized(number)) for number in range(SQLITE_ROWS)]
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


def _start(process: Process, address: str, plan: Plan) -> float:
    """Return the seconds until a new process has responded to a read."""
    began = time.perf_counter()
    with process:
        server = Server(address, process.pid, plan)

        async def read() -> None:
            async with server.client() as firestore:
                await firestore_work.read_document(firestore, 0)

        asyncio.run(read())
        return time.perf_counter() - began
