"""How much is measured, where, and how a row becomes one figure: a warm-up, several runs, the median."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.load.machine import Placement
from tests.load.table import Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """The short run is for a change, the long one for the record."""

    placement: Placement
    folder: Path
    long: bool

    @property
    def runs(self) -> int:
        """Runs of each row."""
        return 5 if self.long else 3

    @property
    def seconds(self) -> float:
        """Seconds of each run."""
        return 10 if self.long else 3

    @property
    def documents(self) -> int:
        """Documents and results that growth goes up to."""
        return 1_000_000 if self.long else 100_000

    @property
    def streamed(self) -> int:
        """Samples in a stream."""
        return 50_000 if self.long else 10_000

    def new_folder(self, name: str) -> Path:
        """Return a folder that nothing has used."""
        number = sum(1 for _ in self.folder.iterdir())
        folder = self.folder / f"{number}-{name}"
        folder.mkdir()
        return folder


def attempt(what: str, measure: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """Yield the rows of `measure`; if it fails, a row that says why, so that the others go on."""
    try:
        yield from measure()
    except Exception as problem:  # noqa: BLE001 - whatever it is, the other rows are still wanted
        yield Row(what, problem=f"{type(problem).__name__}: {problem}".replace("\n", " ")[:300])


def median(measured: list[T], by: Callable[[T], float]) -> T:
    """Return the one in the middle, whole."""
    return sorted(measured, key=by)[len(measured) // 2]


def repeat(plan: Plan, measure: Callable[[], T], by: Callable[[T], float]) -> T:
    """Warm up once, then measure several times and return the one in the middle."""
    measure()
    return median([measure() for _ in range(plan.runs)], by)


def powers(base: int, first: int, last: int) -> Iterator[int]:
    """Yield `first` and its multiples by `base` up to `last`."""
    while first <= last:
        yield first
        first *= base
