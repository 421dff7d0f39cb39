"""The summary of `dropzone submit`: how many samples were stored or refused, problems, and a table of a few samples.

If standard output is not a terminal, each sample is a line of JSON there, and the summary is on standard error.
"""

import sys
from dataclasses import dataclass

from rich.table import Table

from dropzone import DropzoneError, Receipt, SampleState, SettledSample
from dropzone.command import output
from dropzone.command.exit_codes import ExitCode
from dropzone.encoding import format_time

_MAX_LISTED_PROBLEMS = 20
_MAX_LISTED_SAMPLES = 10


@dataclass(slots=True)
class _Outcome:
    """The last known state of the sample from `source`, such as `samples.ndjson:7`."""

    source: str
    sample: Receipt | SettledSample


class SubmissionSummary:
    """The summary of one run. An accepted sample later becomes computed or failed."""

    def __init__(self, *, is_waiting: bool) -> None:
        """Create an empty summary. If `is_waiting` is true, the run waits for results, and the summary counts them."""
        self._is_waiting = is_waiting
        self._prints_json = not sys.stdout.isatty()
        self._accepted = self._rejected = self._refused = self._computed = self._failed = 0
        self._listed: list[_Outcome] = []
        self._problems: list[tuple[str, str]] = []
        self._unlisted_problems = 0

    @property
    def samples(self) -> int:
        """The number of samples that were read."""
        return self._accepted + self._rejected + self._refused

    @property
    def acknowledged(self) -> int:
        """The number of samples that the server has stored."""
        return self._accepted + self._rejected

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a run that was not interrupted."""
        return ExitCode.INCOMPLETE if self._rejected or self._refused or self._failed else ExitCode.DONE

    def add_receipt(self, source: str, receipt: Receipt, *, is_settled: bool) -> None:
        """Add a stored sample. If its state is not settled yet, `add_settled` adds it again."""
        outcome = _Outcome(source, receipt)
        if receipt.state is SampleState.REJECTED:
            self._rejected += 1
            self._add_problem(source, "; ".join(map(str, receipt.problems)))
        else:
            self._accepted += 1
        if len(self._listed) <= _MAX_LISTED_SAMPLES:
            self._listed.append(outcome)
        if is_settled:
            self._print_json(outcome)

    def add_settled(self, source: str, sample: SettledSample) -> None:
        """Add the final state of a sample."""
        if sample.state in (SampleState.COMPUTED, SampleState.SUPERSEDED):
            self._computed += 1
        else:
            self._failed += 1
            self._add_problem(source, "; ".join(map(str, sample.problems)))
        for listed in self._listed:
            if listed.source == source:
                listed.sample = sample
        self._print_json(_Outcome(source, sample))

    def add_refusal(self, source: str, error: DropzoneError) -> None:
        """Add a sample that was not stored."""
        self._refused += 1
        self._add_problem(source, str(error))
        if self._prints_json:
            output.print_line({"source": source, "error": {"message": str(error), "code": error.code}})

    def print(self) -> None:
        """Print the summary. If standard output contains JSON, print it to standard error."""
        console = output.console(sys.stderr if self._prints_json else sys.stdout)
        if not self._prints_json and self.samples <= _MAX_LISTED_SAMPLES:
            console.print(_outcome_table(self._listed), "")
        rows = [("samples", self.samples, ""), ("accepted", self._accepted, "")]
        rows += [("rejected", self._rejected, "stored with their problems")] * bool(self._rejected)
        rows += [("refused", self._refused, "not stored")] * bool(self._refused)
        if self._is_waiting:
            rows += [("computed", self._computed, ""), ("failed", self._failed, "")]
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(justify="right")
        for name, count, meaning in rows:
            table.add_row(name, f"{count:,}", meaning)
        console.print(table)
        if self._problems:
            console.print()
        for source, text in self._problems:
            console.print(output.printable(f"{source}: {text}"))
        if self._unlisted_problems:
            console.print(f"and {self._unlisted_problems:,} more samples with problems")

    def _add_problem(self, source: str, text: str) -> None:
        """List a problem. If the list is full, only count the problem."""
        if len(self._problems) < _MAX_LISTED_PROBLEMS:
            self._problems.append((source, text))
        else:
            self._unlisted_problems += 1

    def _print_json(self, outcome: _Outcome) -> None:
        if self._prints_json:
            output.print_line({"source": outcome.source, **output.to_json(outcome.sample)})


def _outcome_table(outcomes: list[_Outcome]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    results = [getattr(outcome.sample, "result", None) for outcome in outcomes]
    has_results = any(results)
    headings = ["time stamp (UTC)", "mean", "std. deviation", "count"] if has_results else []
    for name in ("sample", "state", *headings, "id"):
        table.add_column(name, no_wrap=True, justify="right" if name in headings[1:] else "left")
    for outcome, result in zip(outcomes, results, strict=True):
        cells: list[str] = [""] * len(headings)
        if result is not None:
            numbers = (result.mean, result.standard_deviation, result.count)
            cells = [format_time(result.timestamp), *map(output.number, numbers)]
        table.add_row(output.printable(outcome.source), outcome.sample.state.value, *cells, outcome.sample.id)
    return table
