"""The report of a reader: the members of a sample that Dropzone uses, and the problems of the sample."""

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice, starmap

import msgspec

from storage.documents.labels import Labels
from storage.documents.problems import MAX_PROBLEMS, Problem, ProblemCode

Append = Callable[[list[float]], None]
"""Receives the numbers of `data` in pieces."""


class ValidationReport(msgspec.Struct, frozen=True):
    """The members of a sample and its problems.

    `time_stamp` is the text as submitted, or None if it cannot be stored. `timestamp` is the same instant in UTC, or
    None if it is not valid. `count` is the number of values in `data`, or 0 if `data` is not a list. `labels` is empty
    if a label has a problem. `missing_count` is the number of nulls in `data` that are skipped.
    """

    time_stamp: str | None
    timestamp: datetime | None
    count: int
    idempotency_key: str | None = None
    problems: tuple[Problem, ...] = ()
    labels: Labels = {}
    missing_count: int = 0


class ProblemCollector:
    """Stores the first `MAX_PROBLEMS` problems. Further problems are counted but not created."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._omitted = 0

    @property
    def is_full(self) -> bool:
        """Whether further problems are only counted."""
        return len(self._problems) == MAX_PROBLEMS

    @property
    def omitted(self) -> int:
        """The number of problems that were only counted."""
        return self._omitted

    def omit(self, count: int) -> None:
        """Count problems while the collector is full."""
        self._omitted += count

    def add(self, problem: Problem) -> None:
        """Add one problem."""
        self.add_all(lambda: problem, [()])

    def add_all(self, build: Callable[..., Problem], arguments: Iterable[tuple[object, ...]]) -> None:
        """Add one problem per item of `arguments`. `build` creates the problem of an item, but only if it is stored."""
        remaining = iter(arguments)
        self._problems.extend(starmap(build, islice(remaining, MAX_PROBLEMS - len(self._problems))))
        self._omitted += sum(1 for _ in remaining)

    def problems(self) -> tuple[Problem, ...]:
        """Return the stored problems. If there were more, the last problem says how many."""
        if not self._omitted:
            return tuple(self._problems)
        more = Problem("$", f"there are {self._omitted:,} more problems", ProblemCode.MORE_PROBLEMS)
        return *self._problems, more
