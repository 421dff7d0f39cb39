"""Counts of samples by state, which should not depend on the number of samples."""

import json
from collections.abc import Iterator, Mapping
from functools import partial

from tests.load import wrk
from tests.load.plan import Plan, attempt, repeat
from tests.load.rows.results import stored
from tests.load.table import Figure, Goal, Row
from tests.load.wrk import Target

MAX_SECONDS = 0.1
STATES = ("COMPUTED", *stored.OTHER_STATES)
BY_STATE = (
    f"{{ {' '.join(f'{state}: samples(first: 0, filter: {{state: {state}}}) {{ totalCount }}' for state in STATES)} }}"
)
PENDING = "query ($filter: SampleFilter) { samples(first: 0, filter: $filter) { totalCount } }"


def counts(plan: Plan, url: str, headers: Mapping[str, str], count: int) -> Iterator[Row]:
    """Measure the counts of all states, of PENDING samples in the first half of the time, and of those of a sensor.

    The exact numbers are expected.
    """
    numbers = {state: stored.others(count) for state in stored.OTHER_STATES} | {"COMPUTED": count}
    by_state = {state: {"totalCount": numbers[state]} for state in STATES}
    yield from _row(plan, url, headers, f"counts by state of {count:,} results", {"query": BY_STATE}, by_state)
    half = count // 2
    first_half = {"gte": stored.START.isoformat(), "lt": (stored.START + half * stored.INTERVAL).isoformat()}
    sensor = [{"name": "sensor", "value": "sensor_0"}]
    for what, chosen, number in (
        ("in half of the time", {"submittedAt": first_half}, stored.others(half)),
        ("of one sensor", {"labels": sensor}, stored.others(count, sensor=0)),
    ):
        body = {"query": PENDING, "variables": {"filter": {"state": "PENDING", **chosen}}}
        name = f"count of PENDING samples {what}, {count:,} results"
        yield from _row(plan, url, headers, name, body, {"samples": {"totalCount": number}})


def _row(
    plan: Plan, url: str, headers: Mapping[str, str], what: str, body: object, expected: Mapping[str, object]
) -> Iterator[Row]:
    target = Target(url, json.dumps(body).encode(), json.dumps(expected, separators=(",", ":")), headers)

    def measure() -> Iterator[Row]:
        ask = partial(wrk.run, target, connections=1, seconds=plan.seconds, processors=plan.placement.other)
        outcome = repeat(plan, ask, by=lambda each: each.p50)
        figure = Figure(outcome.p50 * 1000, "ms", f"p99 {outcome.p99 * 1000:.3g} ms", more_is_better=False)
        yield Row(f"{what}: p50", figure, goals=[Goal("p99 under 100 ms", outcome.p99 < MAX_SECONDS)])

    yield from attempt(what, measure)
