"""The report of a run: what was done, and whether work is left."""

from dataclasses import dataclass


@dataclass(slots=True)
class Report:
    """The report of a run for all submitters. `is_finished` is true if nothing is left to do."""

    results: int = 0
    hours: int = 0
    archived: int = 0
    is_finished: bool = True

    def values(self) -> dict[str, object]:
        """Return the report as JSON."""
        return {
            "resultsArchived": self.archived,
            "resultsRead": self.results,
            "hoursWritten": self.hours,
            "finished": self.is_finished,
        }
