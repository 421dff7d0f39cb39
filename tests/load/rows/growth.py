"""What depends on the number of stored results: requests, start, backup, memory and the size of the data file.

The usual form and the long form draw the figures as docs/measurements/growth.svg.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tests import line_charts
from tests.line_charts import Chart
from tests.load import machine, samples, stack_processes, wrk
from tests.load.plan import Form, Plan, powers
from tests.load.rows.results import rollups, stored
from tests.load.stack_processes import Commands
from tests.load.table import MIB, Figure, Row
from tests.load.wrk import Target

SMALLEST = 1_000
VALUES = 100
SECONDS = 3.0
"""Of a run of requests. Each row has one run, because storing the results takes most of the time."""

PLOT = Path("docs/measurements/growth.svg")
DAY = f'{{gte: "{stored.START:%Y-%m-%dT%H:%M:%SZ}", lt: "{stored.START:%Y-%m}-02T00:00:00Z"}}'
QUERIES = {
    "page of 50": ("{ results(first: 50) { edges { cursor node { id mean } } } }", '"cursor"'),
    "latest of 50 series": ('{ latestResults(groupBy: ["sensor"]) { id mean } }', '"mean"'),
    "hours of a day": (f"{{ resultsOverTime(bucket: HOUR, filter: {{timestamp: {DAY}}}) {{ start mean }} }}", '"mean"'),
}
"""The queries of the rows, and the text that a success contains."""
CHARTS = {
    "Request, ms (p50)": ("submit", *QUERIES),
    "Start of Firestore and backup, s": ("start", "backup"),
    "Memory, MiB": ("API", "Firestore"),
    "Data file, MiB": ("data file",),
}


def growth(plan: Plan) -> Iterator[Row]:
    """Measure at each power of ten, on the same growing data."""
    lines: dict[str, list[tuple[float, float | None]]] = defaultdict(list)
    with stack_processes.firestore(plan.new_folder("growth"), plan.placement.other) as (commands, firestore):
        headers = {"content-type": "application/json", "x-api-key": commands.key()}
        targets = _targets(f"http://127.0.0.1:{commands.port('api')}/graphql", headers)
        with commands.api(plan.placement.one) as api:
            count = 0
            for following in powers(10, SMALLEST, plan.documents):
                _store(plan, commands, count, following)
                count = following
                figures = {name: _request(plan, target) for name, target in targets.items()}
                for name, process in (("API", api), ("Firestore", firestore)):
                    figures[name] = Figure(machine.resident_bytes(process.pid) / MIB, "MiB", more_is_better=False)
                figures |= _backup_and_start(plan, commands)
                for name, figure in figures.items():
                    lines[name].append((count, figure.value))
                    yield Row(f"with {count:,} results: {name}", figure)
    if plan.form is not Form.SHORT:
        charts = [
            Chart(title, {name: lines[name] for name in names}, is_logarithmic=True) for title, names in CHARTS.items()
        ]
        PLOT.write_text(line_charts.svg(charts))


def _store(plan: Plan, commands: Commands, first: int, last: int) -> None:
    """Store results and build rollups, on the processor of the API, which is idle meanwhile."""
    machine.place_this(plan.placement.one)
    asyncio.run(stored.store(commands.address, first, last))
    rollups.build(commands)
    machine.place_this(plan.placement.other)


def _targets(url: str, headers: Mapping[str, str]) -> dict[str, Target]:
    targets = {"submit": Target(url, samples.submission(samples.sample(VALUES)), '"PENDING"', headers)}
    for name, (query, expected) in QUERIES.items():
        targets[name] = Target(url, json.dumps({"query": query}).encode(), expected, headers)
    return targets


def _request(plan: Plan, target: Target) -> Figure:
    ask = partial(wrk.run, target, connections=1, seconds=SECONDS, processors=plan.placement.other)
    ask()  # a warm-up
    outcome = ask()
    return Figure(outcome.p50 * 1000, "ms", f"p99 {outcome.p99 * 1000:.3g} ms", more_is_better=False)


def _backup_and_start(plan: Plan, commands: Commands) -> dict[str, Figure]:
    """Return the time of a backup, the size of its file, and the time in which Firestore starts with it."""
    copy = Commands.of(plan.new_folder("copy"))
    backup = copy.folder / "backup"
    data = commands.folder / "firestore.sqlite"
    started = time.perf_counter()
    _archive("backup", "--data", str(data), "--output", str(backup))
    backup_seconds = time.perf_counter() - started
    _archive("restore", str(backup), "--data", str(copy.folder / "firestore.sqlite"))
    started = time.perf_counter()
    with copy.firestore(plan.placement.other):
        start_seconds = time.perf_counter() - started
    size = backup.stat().st_size
    shutil.rmtree(copy.folder)
    return {
        "backup": Figure(backup_seconds, "s", more_is_better=False),
        "start": Figure(start_seconds, "s", more_is_better=False),
        "data file": Figure(size / MIB, "MiB", more_is_better=False),
    }


def _archive(*arguments: str) -> None:
    command = [sys.executable, "-m", "infra.embedded.firestore.archive", *arguments]
    subprocess.run(command, check=True, capture_output=True)
