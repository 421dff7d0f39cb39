"""The time from starting the stack until it accepts samples."""

import time
from collections.abc import Iterator
from pathlib import Path

from tests.load.plan import Plan, median
from tests.load.table import Figure, Row
from tests.stack import Stack


def start(plan: Plan) -> Iterator[Row]:
    """Measure with a new data folder and with a used one."""
    stacks = [plan.new_folder("start") for _ in range(plan.runs)]
    first = median([_seconds(folder) for folder in stacks], by=float)
    again = median([_seconds(folder) for folder in stacks], by=float)
    yield Row("start of the stack, for the first time", Figure(first, "s", more_is_better=False))
    yield Row("start of the stack, again", Figure(again, "s", more_is_better=False))


def _seconds(folder: Path) -> float:
    began = time.perf_counter()
    with Stack(folder):
        return time.perf_counter() - began
