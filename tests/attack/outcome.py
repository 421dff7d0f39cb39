"""The outcome of one attack, and the bounds that it must keep."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.attack.bystander import Experience

MAX_SUBMIT_SECONDS = 0.25
MAX_SUBMIT_SECONDS_BESIDE_VALID_WORK = 1.0
MAX_RESULT_SECONDS = 2.0
MAX_MEMORY_MIB = 512.0
MAX_MEMORY_GROWTH = 1.2
PATIENCE_SECONDS = 60.0
WORK_PATIENCE_SECONDS = 30.0
_PROCESSES = ("API", "Firestore", "function")


@dataclass(slots=True)
class Outcome:
    """What one attack achieved. `memory` is by process: at the start, at the peak, and at the end, in MiB."""

    name: str
    is_valid_work: bool
    stores_samples: bool
    experience: Experience
    memory: dict[str, tuple[float, float, float]]
    idle_after_seconds: dict[str, float | None]
    """When each process had nothing left to do after the attack. None: it still worked when the patience ended."""
    ended: list[str]
    harms: list[str] = field(default_factory=list)
    calm_submit_seconds: float = 0.0
    """How long a submit took before the attack."""

    def faults(self, tolerance: float = 1.0) -> list[str]:
        """Return the bounds that were exceeded. Bounds on times are multiplied by `tolerance`."""
        return [*self.harms, *self.time_faults(tolerance), *self._state_faults(), *self._memory_faults()]

    def time_faults(self, tolerance: float) -> Iterable[str]:
        """Yield the bounds on times that were exceeded."""
        max_submit_seconds = MAX_SUBMIT_SECONDS_BESIDE_VALID_WORK if self.is_valid_work else MAX_SUBMIT_SECONDS
        for what, times, limit in (
            ("submit", self.experience.submits, max_submit_seconds),
            ("health check", self.experience.health_checks, max_submit_seconds),
            ("result", self.experience.results, MAX_RESULT_SECONDS),
        ):
            if (value := percentile_99(times)) > (allowed := limit * tolerance):
                yield f"another tenant's {what} took {value:.2f} s (99th percentile), the limit is {allowed:.3g} s"

    def _state_faults(self) -> Iterable[str]:
        if self.experience.failures:
            yield f"{len(self.experience.failures)} requests of another tenant failed: {self.experience.failures[0]}"
        if self.experience.without_result:
            yield f"{self.experience.without_result} acknowledged samples of another tenant have no result"
        if self.ended:
            yield f"these processes ended: {', '.join(self.ended)}"
        for role, seconds in self.idle_after_seconds.items():
            if seconds is None and (role == "API" or not self.stores_samples):
                yield f"{role} still worked {WORK_PATIENCE_SECONDS:g} s after the attack"

    def _memory_faults(self) -> Iterable[str]:
        for role, (before, peak, after) in self.memory.items():
            if peak > MAX_MEMORY_MIB:
                yield f"{role} used {peak:.0f} MiB, the limit is {MAX_MEMORY_MIB:g} MiB"
            if after > before * MAX_MEMORY_GROWTH:
                yield f"{role} kept {after:.0f} MiB of {before:.0f} MiB before the attack"

    def cells(self) -> list[str]:
        """Return the cells of the row of this outcome."""
        idle = [
            "-" if seconds is None else f"{seconds:.0f}" for seconds in map(self.idle_after_seconds.get, _PROCESSES)
        ]
        memory = [" / ".join(f"{size:.0f}" for size in self.memory.get(role, ())) for role in _PROCESSES]
        return [
            self.name,
            _milliseconds(percentile_99(self.experience.submits)),
            _milliseconds(max(self.experience.submits, default=0.0)),
            _milliseconds(percentile_99(self.experience.results)),
            *memory,
            " / ".join(idle),
        ]


HEADINGS = (
    "attack",
    "submit p99",
    "submit max",
    "result p99",
    "API MiB: before / peak / after",
    "Firestore MiB",
    "function MiB",
    "seconds until API / Firestore / function are idle",
)


def percentile_99(times: Sequence[float]) -> float:
    """Return the 99th percentile. Of fewer than 100 times, return the maximum."""
    return statistics.quantiles(times, n=100)[98] if len(times) >= 100 else max(times, default=0.0)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(outcome.cells() for outcome in outcomes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
