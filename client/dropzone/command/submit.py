"""`dropzone submit`: submits samples from files. The server stores each sample once, even if the command runs again."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from dropzone import (
    DEFAULT_URL,
    AsyncClient,
    BadRequest,
    Conflict,
    DropzoneError,
    NotFound,
    Receipt,
    SampleState,
    SettledSample,
    TooLarge,
)
from dropzone.command import output, sample_files
from dropzone.command.connection_options import Key, Url, connect
from dropzone.command.exit_codes import EXIT_CODES, ExitCode, run
from dropzone.command.labels import Labels, parse_labels
from dropzone.encoding import format_time

_MAX_LISTED_PROBLEMS = 20
_MAX_LISTED_SAMPLES = 10
_MAX_PENDING_SAMPLES = 10_000

EPILOG = (
    "The idempotency key of a sample derives from its bytes, unless the sample has a member `idempotency_key`. The "
    "server therefore stores each sample once. After Ctrl-C, a crash or an outage, run the same command again. The "
    "command sends all samples again, but the server stores no sample twice. If standard output is not a terminal, the "
    "command prints one line of JSON per sample. " + EXIT_CODES
)


def submit(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="JSON file (one sample), NDJSON file (one sample per line) or CSV file (columns time_stamp, "
            "label.NAME and values), also compressed as .gz or .zst. `-` is standard input. A folder stands for all "
            "such files in it and its subfolders.",
        ),
    ],
    *,
    is_waiting: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for the results and print their statistics.")
    ] = False,
    label: Labels = None,
    supersedes: Annotated[
        str,
        typer.Option(metavar="ID", help="Id of the sample that the only sample of FILE corrects.", show_default=False),
    ] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of concurrent requests.")] = 64,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Submit samples from files, folders or standard input."""
    for file in files:
        if file != sample_files.STANDARD_INPUT and not file.exists():
            raise typer.BadParameter(f"{sample_files.printable(file)} does not exist", param_hint="FILE")
    expanded = list(sample_files.expand(files))
    if not expanded:
        raise typer.BadParameter("the folder has no file named .json, .ndjson, .jsonl or .csv", param_hint="FILE")
    labels = parse_labels(label)
    submission = Submission(connect(url, key), labels, supersedes, is_waiting=is_waiting)
    run(_submit(submission, expanded, concurrency))


async def _submit(submission: "Submission", files: list[Path], concurrency: int) -> ExitCode:
    try:
        await submission.send(files, concurrency)
    except (asyncio.CancelledError, DropzoneError):
        if submission.has_started:
            submission.print_interruption()
        raise
    submission.print_summary()
    return submission.exit_code


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@dataclass(slots=True)
class Outcome:
    """The last known state of the sample from `source`, such as `samples.ndjson:7`."""

    source: str
    sample: Receipt | SettledSample


@dataclass
class Tally:
    """Counts the samples by outcome. An accepted sample later becomes computed or failed."""

    accepted: int = 0
    rejected: int = 0
    refused: int = 0
    computed: int = 0
    failed: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    unlisted_problems: int = 0

    @property
    def samples(self) -> int:
        """The number of samples that were read."""
        return self.accepted + self.rejected + self.refused

    def add_problem(self, source: str, text: str) -> None:
        """Add a problem to the summary. If the summary is full, only count the problem."""
        if len(self.problems) < _MAX_LISTED_PROBLEMS:
            self.problems.append((source, text))
        else:
            self.unlisted_problems += 1


class Submission:
    """One run of `dropzone submit`."""

    def __init__(self, client: AsyncClient, labels: dict[str, str], supersedes: str, *, is_waiting: bool) -> None:
        self.has_started = False
        self._client = client
        self._progress = _progress()
        self._labels = labels
        self._supersedes = supersedes
        self._is_waiting = is_waiting
        self._prints_json = not sys.stdout.isatty()
        self._sent: deque[str] = deque()  # the sources of samples without a receipt, in order
        self._pending: dict[str, list[str]] = {}  # the sources of samples without a result, by sample id
        self._tally = Tally()
        self._listed: list[Outcome] = []

    async def send(self, files: list[Path], concurrency: int) -> None:
        """Submit all samples of the files. With `--wait`, also wait for their results. Close the client."""
        async with self._client:
            await self._client.ping()
            self.has_started = True
            with self._progress:
                await self._send(files, concurrency)

    async def _send(self, files: list[Path], concurrency: int) -> None:
        task = self._progress.add_task("submitting", total=sample_files.total_bytes(files), note="")
        samples = self._read(files, task)
        if self._supersedes:
            sending = self._correct(samples)
        else:
            sending = self._client.submit_many(samples, concurrency=concurrency, labels=self._labels)
        async with aclosing(sending) as receipts:
            async for receipt in receipts:
                source = self._sent.popleft()
                if isinstance(receipt, DropzoneError):
                    self._add_refusal(source, receipt)
                else:
                    self._add_receipt(Outcome(source, receipt))
                self._progress.update(task, note=f"{self._tally.samples:,} samples")
                if len(self._pending) >= _MAX_PENDING_SAMPLES:  # limits the memory for ids and sources
                    await self._wait()
        await self._wait()

    def print_interruption(self) -> None:
        """Print what was stored before the interruption, and how to resume."""
        acknowledged = self._tally.accepted + self._tally.rejected
        typer.echo(
            f"stopped after {acknowledged:,} acknowledged samples; run the same command again to submit the other "
            "samples; the server stores each sample once",
            err=True,
        )

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a run that was not interrupted."""
        tally = self._tally
        return ExitCode.INCOMPLETE if tally.rejected or tally.refused or tally.failed else ExitCode.DONE

    def print_summary(self) -> None:
        """Print the summary. If standard output contains JSON, print it to standard error."""
        tally, console = self._tally, output.console(sys.stderr if self._prints_json else sys.stdout)
        if not self._prints_json and tally.samples <= _MAX_LISTED_SAMPLES:
            console.print(_outcome_table(self._listed), "")
        rows = [("samples", tally.samples, ""), ("accepted", tally.accepted, "")]
        rows += [("rejected", tally.rejected, "stored with their problems")] * bool(tally.rejected)
        rows += [("refused", tally.refused, "not stored")] * bool(tally.refused)
        if self._is_waiting:
            rows += [("computed", tally.computed, ""), ("failed", tally.failed, "")]
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(justify="right")
        for name, count, meaning in rows:
            table.add_row(name, f"{count:,}", meaning)
        console.print(table)
        if tally.problems:
            console.print()
        for source, text in tally.problems:
            console.print(output.printable(f"{source}: {text}"))
        if tally.unlisted_problems:
            console.print(f"and {tally.unlisted_problems:,} more samples with problems")

    async def _correct(self, samples: AsyncGenerator[bytes, None]) -> AsyncGenerator[Receipt | DropzoneError, None]:
        """Submit the only sample, which corrects another one."""
        given: list[bytes] = []
        async for raw in samples:
            given.append(raw)
            if len(given) > 1:
                raise typer.BadParameter("expected a file with one sample, got several", param_hint="--supersedes")
        for raw in given:
            try:
                yield await self._client.submit(raw, labels=self._labels, supersedes=self._supersedes)
            except (BadRequest, Conflict, NotFound, TooLarge) as error:
                yield error

    async def _read(self, files: list[Path], task: TaskID) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of each sample and record its source."""
        read_bytes = 0
        for file in files:
            position = 0
            async with aclosing(sample_files.in_background(sample_files.read(file))) as batches:
                async for batch in batches:
                    for item in batch.items:
                        if isinstance(item.raw, DropzoneError):
                            self._add_refusal(item.source, item.raw)
                            continue
                        self._sent.append(item.source)
                        yield item.raw
                    position = batch.position
                    self._progress.update(task, completed=read_bytes + position)
            read_bytes += position

    async def _wait(self) -> None:
        """Wait for the results of all pending samples."""
        if not self._pending:
            return
        total = len(self._pending)
        task = self._progress.add_task("waiting for results", total=total, note="")
        async with aclosing(self._client.wait(list(self._pending))) as settled:
            async for sample in settled:
                for source in self._pending.pop(sample.id):
                    self._add_settled(Outcome(source, sample))
                self._progress.update(task, advance=1, note=f"{total - len(self._pending):,} of {total:,}")
        self._progress.remove_task(task)

    def _add_receipt(self, outcome: Outcome) -> None:
        sample = outcome.sample
        if sample.state is SampleState.REJECTED:
            self._tally.rejected += 1
            self._tally.add_problem(outcome.source, "; ".join(map(str, sample.problems)))
        else:
            self._tally.accepted += 1
        if len(self._listed) <= _MAX_LISTED_SAMPLES:
            self._listed.append(outcome)
        if self._is_waiting and sample.state is not SampleState.REJECTED:
            self._pending.setdefault(sample.id, []).append(outcome.source)
        else:
            self._print_json(outcome)

    def _add_settled(self, outcome: Outcome) -> None:
        if outcome.sample.state in (SampleState.COMPUTED, SampleState.SUPERSEDED):
            self._tally.computed += 1
        else:
            self._tally.failed += 1
            self._tally.add_problem(outcome.source, "; ".join(map(str, outcome.sample.problems)))
        for listed in self._listed:
            if listed.source == outcome.source:
                listed.sample = outcome.sample
        self._print_json(outcome)

    def _add_refusal(self, source: str, error: DropzoneError) -> None:
        self._tally.refused += 1
        self._tally.add_problem(source, str(error))
        if self._prints_json:
            output.print_line({"source": source, "error": {"message": str(error), "code": error.code}})

    def _print_json(self, outcome: Outcome) -> None:
        if self._prints_json:
            output.print_line({"source": outcome.source, **output.to_json(outcome.sample)})


def _outcome_table(outcomes: list[Outcome]) -> Table:
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
