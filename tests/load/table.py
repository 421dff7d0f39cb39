"""The table: Dropzone and the baselines, measured on the same machine in the same run.

A ratio says how many times better Dropzone is: a higher rate or a lower time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

STRAWBERRY = "Strawberry + AsyncClient"
NODE = "Node peer"
EMULATOR = "Google's emulator"
SQLITE = "raw SQLite"
BASELINES = (STRAWBERRY, NODE, EMULATOR, SQLITE)
MIB = 2**20
RATIO = "x"
"""The unit of a figure that is a ratio."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its unit. `more_is_better` decides the direction of ratios. `note` follows in parentheses."""

    value: float
    unit: str
    note: str = ""
    more_is_better: bool = True

    def __str__(self) -> str:
        """Format the figure with three or four digits."""
        return f"{digits(self.value)} {self.unit}" + (f" ({self.note})" if self.note else "")

    def times_better_than(self, other: "Figure") -> float:
        """Return how many times better this figure is."""
        better, worse = (self.value, other.value) if self.more_is_better else (other.value, self.value)
        return better / worse


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal in words, and whether it was reached; None if unknown."""

    words: str
    reached: bool | None

    def __str__(self) -> str:
        """Format the goal and whether it was reached."""
        return f"{self.words}: {'not known' if self.reached is None else 'yes' if self.reached else 'NO'}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `problem` says why it has no figure."""

    what: str
    figure: Figure | None = None
    baselines: Mapping[str, Figure | str] = field(default_factory=dict)  # or the reason why there is none
    goals: Sequence[Goal] = ()
    problem: str = ""

    def cells(self) -> list[str]:
        """Return the cells of the row."""
        if self.figure is None:
            return [self.what, f"FAILED: {self.problem}", *[""] * (len(BASELINES) + 1)]
        compared = [self._compared(self.figure, name) for name in BASELINES]
        return [self.what, str(self.figure), *compared, "; ".join(map(str, self.goals))]

    def progress(self) -> str:
        """Return the row as one line of progress output."""
        return "   ".join(cell for cell in self.cells() if cell)

    def ratios(self) -> list[str]:
        """Return how many times better Dropzone is than each baseline. A figure that is a ratio stands for itself."""
        if self.figure is None:
            return []
        known = {name: figure for name, figure in self.baselines.items() if isinstance(figure, Figure)}
        own = [f"{digits(self.figure.value)} {self.figure.note}"] if self.figure.unit == RATIO else []
        return own + [f"{_ratio(self.figure, figure)} x {name}" for name, figure in known.items()]

    def _compared(self, figure: Figure, name: str) -> str:
        baseline = self.baselines.get(name, "")
        if isinstance(baseline, str):
            return baseline
        return f"{baseline} [x {_ratio(figure, baseline)}]"


HEADINGS = ["What", "Dropzone", *BASELINES, "To reach"]


def text(rows: Sequence[Row], changes: Mapping[str, str]) -> str:
    """Return the ratios and the table for a terminal. `changes` has the change of some rows since the last run."""
    ratios = [[row.what, "; ".join(row.ratios()), "; ".join(map(str, row.goals))] for row in rows if row.ratios()]
    cells = [[*HEADINGS, "Change"], *([*row.cells(), changes.get(row.what, "")] for row in rows)]
    if not changes:
        cells = [line[:-1] for line in cells]
    heading, *lines = _columns(cells)
    above = [*_columns(ratios), ""] if ratios else []
    return "\n".join([*above, heading, "-" * len(heading), *lines])


def _columns(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def markdown(rows: Iterable[Row]) -> str:
    """Return the table for a page."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def digits(value: float) -> str:
    """Return a figure with three digits, or as an integer if it has more."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _ratio(figure: Figure, baseline: Figure) -> str:
    times = figure.times_better_than(baseline)
    return f"{times:,.0f}" if times >= 100 else f"{times:.2g}"
