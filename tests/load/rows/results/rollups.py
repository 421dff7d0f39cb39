"""Summaries of many results from rollups, and how fast rollups are built."""

import json
import time
from collections.abc import Iterator, Mapping
from functools import partial

from tests.load import wrk
from tests.load.plan import Plan, repeat
from tests.load.process import Failed
from tests.load.stack_processes import Commands
from tests.load.table import Figure, Goal, Row
from tests.load.wrk import Target

MAX_SECONDS = 5.0
MAX_RUNS = 100
QUERIES = {
    "summary": "{ resultsSummary { results mean standardDeviation minimum maximum median } }",
    "hourly buckets": "{ resultsOverTime(bucket: HOUR) { start results mean standardDeviation } }",
    "summary by sensor": (
        '{ resultsSummary(groupBy: ["sensor"]) { results groups { labels { value } results mean standardDeviation } } }'
    ),
    "daily buckets by sensor": (
        '{ resultsOverTime(bucket: DAY, groupBy: ["sensor"]) { start labels { value } results mean } }'
    ),
}


def build(commands: Commands) -> tuple[int, float]:
    """Build all rollups, if there are enough results. Return the number of results that were read, and the seconds."""
    read, seconds = 0, 0.0
    for _ in range(MAX_RUNS):
        started = time.perf_counter()
        report = commands.build_rollups()
        if report["resultsRead"]:
            read += report["resultsRead"]
            seconds += time.perf_counter() - started
        if report["finished"]:
            break
        time.sleep(1)  # rollups wait until no more results arrive
    return read, seconds


def summaries(plan: Plan, commands: Commands, url: str, headers: Mapping[str, str], stored: int) -> Iterator[Row]:
    """Build the rollups of `stored` results, and measure summaries of all of them."""
    read, seconds = build(commands)
    if read < stored:
        raise Failed(f"the rollups have {read:,} results of {stored:,}")
    yield Row(f"rollups of {stored:,} results: build", Figure(read / seconds, "results/s"))
    for name, query in QUERIES.items():
        target = Target(url, json.dumps({"query": query}).encode(), '"results"', headers)
        ask = partial(wrk.run, target, connections=1, seconds=plan.seconds, processors=plan.placement.other)
        outcome = repeat(plan, ask, by=lambda each: each.p50)
        figure = Figure(outcome.p50 * 1000, "ms", f"p99 {outcome.p99 * 1000:.3g} ms", more_is_better=False)
        goals = [Goal("under 5 s", outcome.p50 < MAX_SECONDS)]
        yield Row(f"{name} of {stored:,} results: p50", figure, goals=goals)
