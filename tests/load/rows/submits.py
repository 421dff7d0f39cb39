"""Single submits: Dropzone and its peers, by number of clients and of values."""

from collections.abc import Iterator, Mapping
from functools import partial

from tests.load.contest import DROPZONE, Contest, Measured, contest
from tests.load.plan import Plan, attempt, powers
from tests.load.table import BASELINES, NODE, STRAWBERRY, Figure, Goal, Row

VALUES = 100
CONNECTIONS = 64
MAX_CLIENTS = 256
MAX_SHARED_BYTES = 10_000  # more values do not fit into a peer's document
CLIENTS_OF_SIZES = 8
CLIENTS_OF_LARGE = 2


def single_submits(plan: Plan) -> Iterator[Row]:
    """Measure the rate and latency of samples of 100 values."""
    with contest(plan) as everyone:
        measured = everyone.submits(VALUES, CONNECTIONS)
    what = f"single submits of {VALUES} values, {CONNECTIONS} connections"
    yield _rates(what, measured, {NODE: 3, STRAWBERRY: 12})
    yield _latencies(f"{what}: p50", measured, "p50")
    yield _latencies(f"{what}: p99", measured, "p99")


def growth_with_clients(plan: Plan) -> Iterator[Row]:
    """Measure with 1 to 256 connections."""
    with contest(plan) as everyone:
        for clients in powers(4, 1, MAX_CLIENTS):
            what = f"{clients} clients submit {VALUES} values"
            yield from attempt(what, partial(_with_clients, everyone, what, clients))


def growth_with_values(plan: Plan) -> Iterator[Row]:
    """Measure with 10 to 1,000,000 values; the rate of values shows how the work grows."""
    with contest(plan) as everyone:
        for values in powers(10, 10, MAX_SHARED_BYTES):
            yield from _with_values(everyone, values, CLIENTS_OF_SIZES)
    with contest(plan, peers=False) as alone:
        for values in powers(10, MAX_SHARED_BYTES * 10, 1_000_000):
            yield from _with_values(alone, values, CLIENTS_OF_LARGE)


def _with_clients(everyone: Contest, what: str, clients: int) -> Iterator[Row]:
    measured = everyone.submits(VALUES, clients)
    yield _rates(what, measured, {})
    yield _latencies(f"{what}: p99", measured, "p99")


def _with_values(everyone: Contest, values: int, connections: int) -> Iterator[Row]:
    what = f"samples of {values:,} values, {connections} connections"
    yield from attempt(what, lambda: [_rates(what, everyone.submits(values, connections), {}, values)])


def _rates(what: str, measured: Mapping[str, Measured | str], goals: Mapping[str, float], values: int = 0) -> Row:
    figures = {name: each if isinstance(each, str) else _rate(each, values) for name, each in measured.items()}
    own = figures.pop(DROPZONE)
    assert isinstance(own, Figure)
    reached = [
        Goal(f"{wanted:g} x {name}", own.times_better_than(each) >= wanted if isinstance(each, Figure) else None)
        for name, wanted in goals.items()
        for each in [figures.get(name)]
    ]
    return Row(what, own, {name: figures[name] for name in BASELINES if name in figures}, reached)


def _rate(measured: Measured, values: int) -> Figure:
    rate = measured.outcome.rate
    note = f"server {measured.busy:.0%}, store {measured.firestore_busy:.0%}, {rate / measured.busy:,.0f}/s per core"
    return Figure(rate, "/s", note if not values else f"{rate * values / 1e6:.2g} M values/s, {note}")


def _latencies(what: str, measured: Mapping[str, Measured | str], percentile: str) -> Row:
    figures = {
        name: each
        if isinstance(each, str)
        else Figure(getattr(each.outcome, percentile) * 1000, "ms", more_is_better=False)
        for name, each in measured.items()
    }
    own = figures.pop(DROPZONE)
    assert isinstance(own, Figure)
    return Row(what, own, figures)
