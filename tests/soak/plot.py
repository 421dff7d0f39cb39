"""The plot of a soak: four charts over the time in minutes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tests import line_charts
from tests.line_charts import Chart
from tests.soak.measurements import PROCESSES, Measurement


def _memory(process: str, each: Measurement) -> float | None:
    return each.memory.get(process)


def _open_files(process: str, each: Measurement) -> float | None:
    return each.open_files.get(process)


Values = Callable[[Measurement], float | None]
CHARTS: Mapping[str, Mapping[str, Values]] = {
    "Memory, MiB": {name: partial(_memory, name) for name in PROCESSES},
    "Open files": {name: partial(_open_files, name) for name in PROCESSES},
    "Data file of Firestore, MiB": {"data file": lambda each: each.file_mib, "log": lambda each: each.log_mib},
    "Request, ms": {
        "median": lambda each: each.median_seconds * 1000,
        "slowest": lambda each: each.slowest_seconds * 1000,
    },
}


def plot(measurements: Sequence[Measurement]) -> str:
    """Return the plot as SVG."""
    return line_charts.svg(
        [
            Chart(title, {name: [(each.minute, value(each)) for each in measurements] for name, value in lines.items()})
            for title, lines in CHARTS.items()
        ]
    )
