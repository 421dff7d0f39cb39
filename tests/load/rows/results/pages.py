"""Pages of results as their number grows, which should not depend on it, the export, and the rows about all of them."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from functools import partial

import httpx

from tests.load import stack_processes, wrk
from tests.load.plan import Plan, attempt, powers, repeat
from tests.load.process import Failed
from tests.load.rows.results import dashboard, rollups, stored, tables
from tests.load.rows.results.counts import counts
from tests.load.table import Figure, Goal, Row
from tests.load.wrk import Target

SMALL = 1_000
LATEST = "{ results(first: 50) { edges { cursor node { id timestamp mean } } } }"
RANGE = (
    "{ results(first: 50, filter: {mean: {gte: 0.5}}, orderBy: {field: MEAN, direction: ASC})"
    " { edges { cursor node { id timestamp mean } } } }"
)
FEW = (
    "{ results(first: 50, filter: {mean: {gte: 3}, standardDeviation: {gte: 0.9}, maximum: {lte: 9}})"
    " { edges { cursor node { id timestamp mean } } } }"
)
"""About 2 % of the results match, and the order is that of the time stamps."""
FIVE = (
    "{ results(first: 50, filter: {mean: {gte: 1.5}, standardDeviation: {lte: 0.95}, minimum: {gte: -1},"
    " maximum: {lte: 4.5}, count: {gte: 10}}) { edges { cursor node { id timestamp mean } } } }"
)
"""About 2 % match, as above."""
MEDIANS = "{ results(first: 50, filter: {median: {gte: 3}}) { edges { cursor node { id timestamp median } } } }"
"""About 2 % match. In the order of the time stamps, the server checks medians after reading."""
NONE = (
    "{ results(first: 50, filter: {mean: {gte: 3}, standardDeviation: {gte: 9}})"
    " { edges { cursor node { id timestamp mean } } } }"
)
CURSOR, EMPTY = '"cursor"', '"edges":[]'
QUERIES = {
    "the latest 50": (LATEST, CURSOR),
    "50 by a range of means": (RANGE, CURSOR),
    "50 by three ranges, in the order of time": (FEW, CURSOR),
    "50 by five ranges, in the order of time": (FIVE, CURSOR),
    "50 by a range of medians, in the order of time": (MEDIANS, CURSOR),
    "50 by two ranges without a match, in the order of time": (NONE, EMPTY),
}
"""The queries, and the text that a success contains."""
MAX_PAGE_SECONDS = 0.05
MIN_EXPORTED = 20_000
"""The goal for the rows that an export sends in a second."""


def pages(plan: Plan) -> Iterator[Row]:
    """Measure pages of 50 and counts with up to 1,000,000 stored results, and then what reads all or many of them."""
    placement = plan.placement
    with stack_processes.firestore(plan.new_folder("results"), placement.other) as (commands, _):
        key, port = commands.key(), commands.port("api")
        headers = {"content-type": "application/json", "x-api-key": key}
        api = f"http://127.0.0.1:{port}"
        url = f"{api}/graphql"
        small: dict[str, float] = {}
        count = 0
        with commands.api(placement.one):
            for following in powers(10, 1, plan.documents):
                asyncio.run(stored.store(commands.address, count, following))
                count = following
                for name, (query, expected) in QUERIES.items():
                    if count >= SMALL or query == LATEST:
                        target = Target(url, json.dumps({"query": query}).encode(), expected, headers)
                        page = partial(_page, plan, target, name, count, small)
                        yield from attempt(f"{name} of {count:,} results", page)
                yield from counts(plan, url, headers, count)
            yield from attempt("rollups", partial(rollups.summaries, plan, commands, url, headers, count))
            yield from attempt("dashboard", partial(dashboard.first_load, plan, port, headers, count))
            yield from attempt("tables", partial(tables.tables, plan, api, key, count))
            yield from attempt("export", partial(_export, plan, api, headers, count))


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


def _export(plan: Plan, url: str, headers: Mapping[str, str], count: int) -> Iterator[Row]:
    def rate() -> float:
        started = time.perf_counter()
        with httpx.stream("GET", f"{url}/results?format=ndjson", headers=headers, timeout=600) as response:
            rows = sum(part.count(b"\n") for part in response.iter_bytes())
        if rows != count:
            raise Failed(f"the export has {rows:,} rows of {count:,}")
        return rows / (time.perf_counter() - started)

    exported = repeat(plan, rate, by=lambda each: each)
    goal = Goal(f"{MIN_EXPORTED:,} rows/s", exported >= MIN_EXPORTED)
    yield Row(f"export of {count:,} results as NDJSON", Figure(exported, "rows/s"), goals=[goal])
