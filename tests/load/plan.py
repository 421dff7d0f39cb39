"""How long and where rows are measured. A row is the median of several runs after a warm-up."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from tests.load.machine import Placement
from tests.load.table import Row

T = TypeVar("T")


class Form(StrEnum):
    """How long a run takes: the short form ends within ten minutes, and the long form is for the record."""

    SHORT = "short"
    USUAL = "usual"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the processes run, and how often and how long each row is measured."""

    placement: Placement
    folder: Path
    form: Form

    @property
    def runs(self) -> int:
        """Runs of each row."""
        return {Form.SHORT: 1, Form.USUAL: 3, Form.LONG: 5}[self.form]

    @property
    def starts(self) -> int:
        """Starts of each process, where the figures of two starts are compared."""
        return {Form.SHORT: 1, Form.USUAL: 5, Form.LONG: 9}[self.form]

    @property
    def seconds(self) -> float:
        """Seconds of each run."""
        return 10 if self.form is Form.LONG else 3

    @property
    def documents(self) -> int:
        """The largest number of documents and results in rows about growth."""
        return {Form.SHORT: 10_000, Form.USUAL: 100_000, Form.LONG: 1_000_000}[self.form]

    @property
    def streamed(self) -> int:
        """Samples per stream."""
        return {Form.SHORT: 5_000, Form.USUAL: 10_000, Form.LONG: 50_000}[self.form]

    def new_folder(self, name: str) -> Path:
        """Return a new folder."""
        number = sum(1 for _ in self.folder.iterdir())
        folder = self.folder / f"{number}-{name}"
        folder.mkdir()
        return folder


def attempt(what: str, measure: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """Yield the rows of `measure`. If it fails, yield a row with the reason, so that other groups still run."""
    try:
        yield from measure()
    except Exception as problem:  # noqa: BLE001 - the other rows are still measured
        yield Row(what, problem=f"{type(problem).__name__}: {problem}".replace("\n", " ")[:300])


def median(measured: list[T], by: Callable[[T], float]) -> T:
    """Return the median measurement."""
    return sorted(measured, key=by)[len(measured) // 2]


def repeat(plan: Plan, measure: Callable[[], T], by: Callable[[T], float]) -> T:
    """Warm up once, measure several times, and return the median."""
    measure()
    return median([measure() for _ in range(plan.runs)], by)


def powers(base: int, first: int, last: int) -> Iterator[int]:
    """Yield `first` and its multiples by `base` up to `last`."""
    while first <= last:
        yield first
        first *= base
