"""Tables of results as the Python client reads them, in a process of its own."""

import multiprocessing
import time
from collections.abc import Iterator

from dropzone import Client, Range, ResultFilter
from tests.load.plan import Plan, median
from tests.load.process import Failed
from tests.load.rows.results import stored
from tests.load.table import Figure, Goal, Row

MAX_ROWS = 10_000
MAX_SECONDS = 0.5
METHODS = ("to_arrow", "to_pandas")


def tables(plan: Plan, url: str, key: str, count: int) -> Iterator[Row]:
    """Measure the methods for the earliest 10,000 of `count` results, from the call to the table."""
    rows = min(MAX_ROWS, count)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        times = pool.apply(_read, (url, key, rows, plan.runs))
    for method in METHODS:
        seconds = median(times[method], by=float)
        figure = Figure(seconds * 1000, "ms", f"of {count:,} stored", more_is_better=False)
        goal = Goal("under 0.5 s", seconds < MAX_SECONDS)
        yield Row(f"client.results(...).{method}() of {rows:,} results", figure, goals=[goal])


def _read(url: str, key: str, rows: int, runs: int) -> dict[str, list[float]]:
    """Return the times of each method, without those of the first turn, which loads the libraries."""
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    earliest = ResultFilter(timestamp=Range(lt=stored.START + rows * stored.INTERVAL))
    with Client(url, key) as client:
        for _ in range(1 + runs):
            for method in METHODS:
                started = time.perf_counter()
                table = getattr(client.results(earliest), method)()
                times[method].append(time.perf_counter() - started)
                if len(table) != rows:
                    raise Failed(f"{method} returned {len(table):,} rows of {rows:,}")
    return {method: measured[1:] for method, measured in times.items()}
