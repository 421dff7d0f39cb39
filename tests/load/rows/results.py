"""Pages and counts of results as their number grows, which should not depend on it, and summaries and the export."""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import numpy as np

from storage.documents import Result, Status, document_paths
from storage.firestore import encoding
from tests.load import stack_processes, wrk
from tests.load.firestore_client import Firestore
from tests.load.plan import Plan, attempt, powers, repeat
from tests.load.process import Failed
from tests.load.rows import rollups
from tests.load.stack_processes import SUBMITTER
from tests.load.table import Figure, Goal, Row
from tests.load.wrk import Target
from triggers.computation import summarize

PAGE = 50
SMALL = 1_000
TOGETHER = 500
SEED = 1
SENSORS = 50
INTERVAL = timedelta(seconds=31)
"""Between two results. One million of them span a year."""
LATEST = "{ results(first: 50) { edges { cursor node { id timestamp mean } } } }"
RANGE = (
    "{ results(first: 50, filter: {mean: {gte: 0.5}}, orderBy: {field: MEAN, direction: ASC})"
    " { edges { cursor node { id timestamp mean } } } }"
)
EXAMPLE = summarize(np.linspace(-1, 1, 100))
FEW = (
    "{ results(first: 50, filter: {mean: {gte: 3}, standardDeviation: {gte: 0.9}, maximum: {lte: 9}})"
    " { edges { cursor node { id timestamp mean } } } }"
)
"""About 2 % of the results match, and the order is that of the time stamps."""
STATES = (
    "{ all: samples(first: 0) { totalCount } computed: results(first: 0) { totalCount }"
    " rejected: samples(first: 0, filter: {state: REJECTED}) { totalCount }"
    " failed: samples(first: 0, filter: {state: FAILED}) { totalCount } }"
)
QUERIES = {"the latest 50": LATEST, "50 by a range of means": RANGE, "50 by three ranges, in the order of time": FEW}
MAX_PAGE_SECONDS, MAX_COUNT_SECONDS = 0.05, 0.1
MIN_EXPORTED = 20_000
"""The goal for the rows that an export sends in a second."""


def growth_with_results(plan: Plan) -> Iterator[Row]:
    """Measure pages of 50 and counts with up to 1,000,000 stored results, and the export of all."""
    placement = plan.placement
    with stack_processes.firestore(plan.new_folder("results"), placement.other) as (commands, _):
        headers = {"content-type": "application/json", "x-api-key": commands.key()}
        url = f"http://127.0.0.1:{commands.port('api')}/graphql"
        small: dict[str, float] = {}
        stored = 0
        with commands.api(placement.one):
            for count in powers(10, 1, plan.documents):
                asyncio.run(_store(commands.address, stored, count))
                stored = count
                for name, query in QUERIES.items() if count >= SMALL else [("the latest 50", LATEST)]:
                    target = Target(url, json.dumps({"query": query}).encode(), '"cursor"', headers)
                    yield from attempt(f"{name} of {count:,} results", partial(_page, plan, target, name, count, small))
                target = Target(url, json.dumps({"query": STATES}).encode(), f'"totalCount":{count}}}', headers)
                yield from attempt(f"counts by state of {count:,} results", partial(_counts, plan, target, count))
            yield from attempt("rollups", partial(rollups.summaries, plan, commands, url, headers, stored))
            yield from attempt(
                "export", partial(_export, plan, f"http://127.0.0.1:{commands.port('api')}", headers, stored)
            )


def _page(plan: Plan, target: Target, name: str, count: int, small: dict[str, float]) -> Iterator[Row]:
    ask = partial(wrk.run, target, connections=1, seconds=plan.seconds, processors=plan.placement.other)
    outcome = repeat(plan, ask, by=lambda each: each.p50)
    if count == SMALL:
        small[name] = outcome.p50
    goals = []
    if count > SMALL:
        goals = [
            Goal("2 x that of 1,000", outcome.p50 < 2 * small[name] if name in small else None),
            Goal("under 50 ms", outcome.p50 < MAX_PAGE_SECONDS),
        ]
    note = f"p99 {outcome.p99 * 1000:.3g} ms"
    figure = Figure(outcome.p50 * 1000, "ms", note, more_is_better=False)
    yield Row(f"{name} of {count:,} results: p50", figure, goals=goals)


def _counts(plan: Plan, target: Target, count: int) -> Iterator[Row]:
    outcome = repeat(
        plan, partial(wrk.run, target, connections=1, seconds=plan.seconds, processors=plan.placement.other), _p50
    )
    figure = Figure(outcome.p50 * 1000, "ms", f"p99 {outcome.p99 * 1000:.3g} ms", more_is_better=False)
    goals = [Goal("under 100 ms", outcome.p99 < MAX_COUNT_SECONDS)]
    yield Row(f"counts by state of {count:,} results: p50", figure, goals=goals)


def _p50(outcome: wrk.Outcome) -> float:
    return outcome.p50


def _export(plan: Plan, url: str, headers: Mapping[str, str], stored: int) -> Iterator[Row]:
    def rate() -> float:
        started = time.perf_counter()
        with httpx.stream("GET", f"{url}/results?format=ndjson", headers=headers, timeout=600) as response:
            rows = sum(part.count(b"\n") for part in response.iter_bytes())
        if rows != stored:
            raise Failed(f"the export has {rows:,} rows of {stored:,}")
        return rows / (time.perf_counter() - started)

    exported = repeat(plan, rate, by=lambda each: each)
    goal = Goal(f"{MIN_EXPORTED:,} rows/s", exported >= MIN_EXPORTED)
    yield Row(f"export of {stored:,} results as NDJSON", Figure(exported, "rows/s"), goals=[goal])


async def _store(address: str, first: int, last: int) -> None:
    """Store results `first` to `last` as the function writes them."""
    chance = random.Random(SEED + first)
    async with Firestore.connect(address, stack_processes.PROJECT) as firestore:
        for start in range(first, last, TOGETHER):
            numbers = range(start, min(last, start + TOGETHER))
            await firestore.batch_write([_write(firestore, number, chance) for number in numbers])


def _write(firestore: Firestore, number: int, chance: random.Random) -> object:
    moment = datetime(2025, 1, 1, tzinfo=UTC) + number * INTERVAL
    sample_id = document_paths.keyed_sample_id(SUBMITTER, str(number))
    mean, deviation = chance.gauss(1, 1), abs(chance.gauss(1, 0.1))
    statistics = replace(
        EXAMPLE,
        mean=mean,
        median=mean,
        standard_deviation=deviation,
        minimum=mean - 3 * deviation,
        maximum=mean + 3 * deviation,
    )
    result = Result(
        SUBMITTER,
        sample_id,
        moment,
        0,
        Status.COMPUTED,
        timestamp=moment,
        statistics=statistics,
        labels={"sensor": f"sensor_{number % SENSORS}"},
    )
    return encoding.to_write(firestore.name(document_paths.result(SUBMITTER, sample_id)), result.fields())
