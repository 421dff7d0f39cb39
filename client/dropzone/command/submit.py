"""`dropzone submit`: everything that is named, each sample once, whatever interrupts it."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from dropzone import AsyncClient, DropzoneError, SampleState
from dropzone.command import output, sources
from dropzone.command.access import DEFAULT_URL, EXIT_CODES, ExitCode, Key, Url, connect, find_key, run
from dropzone.command.journal import Entry, Journal

_MAX_SHOWN = 20
_FEW = 10
_WAITED_AT_ONCE = 400

EPILOG = (
    "A sample is recognised by its bytes: submitted again, by another run or twice in one, it is stored once. "
    "A member `idempotency_key` of its own takes the place of that. After Ctrl-C, a crash or a lost connection the "
    "same command goes on where it stopped. Where standard output is no terminal it gets one line of JSON for each "
    "sample. " + EXIT_CODES
)


def submit(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="JSON (one sample) or NDJSON (one a line), also compressed as .gz or .zst; - is standard input; of a "
            "folder every such file below it.",
        ),
    ],
    *,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the results.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="How many samples may be under way at once.")] = 64,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Submit samples from files, folders or standard input."""
    for file in files:
        if file != sources.STANDARD_INPUT and not file.exists():
            raise typer.BadParameter(f"there is no {sources.shown(file)}", param_hint="FILE")
    found = list(sources.expand(files))
    if not found:
        raise typer.BadParameter("there is no file named .json, .ndjson or .jsonl in there", param_hint="FILE")
    key = find_key(url, key)
    run(_submit(found, connect(url, key), url, key, wait=wait, concurrency=concurrency))


async def _submit(
    files: list[Path], client: AsyncClient, url: str, key: str, *, wait: bool, concurrency: int
) -> ExitCode:
    async with client:
        await client.ping()
        with _progress() as progress:
            submission = Submission(client, _journal(url, key, files), progress, waits=wait)
            done = False
            try:
                await submission.send(files, concurrency)
                if wait:
                    await submission.wait()
                done = True
            except (asyncio.CancelledError, DropzoneError):
                progress.stop()
                submission.say_how_to_go_on()
                raise
            finally:
                submission.close(done=done)
    submission.report()
    return submission.exit_code


def _journal(url: str, key: str, files: list[Path]) -> Journal:
    try:
        return Journal.open(
            url, key, [str(file) if file == sources.STANDARD_INPUT else str(file.resolve()) for file in files]
        )
    except OSError as error:
        typer.echo(
            f"dropzone: no journal can be kept, so after an interruption everything is sent again: {error}", err=True
        )
        return Journal(None)


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


@dataclass
class Tally:
    """What became of the samples; each is counted in one of the first three, and the rest say more of them."""

    accepted: int = 0
    rejected: int = 0
    refused: int = 0
    earlier: int = 0
    equal: int = 0
    computed: int = 0
    failed: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    more_problems: int = 0

    @property
    def samples(self) -> int:
        """How many there were."""
        return self.accepted + self.rejected + self.refused

    def complain(self, place: str, text: str) -> None:
        """Keep a problem to show it, or count it."""
        if len(self.problems) < _MAX_SHOWN:
            self.problems.append((place, text))
        else:
            self.more_problems += 1


class Submission:
    """One run of the command."""

    def __init__(self, client: AsyncClient, journal: Journal, progress: Progress, *, waits: bool) -> None:
        self._client = client
        self._journal = journal
        self._progress = progress
        self._waits = waits
        self._under_way: deque[tuple[sources.Item, bytes]] = deque()
        self._tally = Tally()
        self._few: list[Entry] = []
        self._prints = not sys.stdout.isatty()

    async def send(self, files: list[Path], concurrency: int) -> None:
        """Submit everything that has no receipt yet."""
        task = self._progress.add_task("submitting", total=sources.total_bytes(files), note="")
        async with aclosing(self._client.submit_many(self._unknown(files, task), concurrency=concurrency)) as outcomes:
            async for outcome in outcomes:
                item, digest = self._under_way.popleft()
                if isinstance(outcome, DropzoneError):
                    self._refuse(item.place, outcome)
                elif self._journal.add(digest, item.place, outcome):
                    self._take(Entry(outcome, item.place, earlier=False))
                else:
                    self._take(Entry(outcome, item.place, earlier=False), equal=True)
                self._progress.update(task, note=f"{self._tally.samples:,} samples")

    async def wait(self) -> None:
        """Wait for the results of all that is PENDING."""
        waiting_for = self._journal.count(SampleState.PENDING)
        task = self._progress.add_task("waiting for results", total=waiting_for, note="")
        while waiting := self._journal.pending(_WAITED_AT_ONCE):
            async with aclosing(self._client.wait(waiting)) as settled:
                async for receipt in settled:
                    for entry in self._journal.settle(receipt):
                        self._settled(entry)
                        settled_ones = self._tally.computed + self._tally.failed
                        self._progress.update(task, advance=1, note=f"{settled_ones:,} of {waiting_for:,}")

    def close(self, *, done: bool) -> None:
        """Keep the journal unless all is done."""
        self._journal.close(done=done)

    def say_how_to_go_on(self) -> None:
        """Tell what an interruption left."""
        known = self._tally.accepted + self._tally.rejected
        typer.echo(f"dropzone: stopped, {known:,} acknowledged; the same command goes on from there", err=True)

    @property
    def exit_code(self) -> ExitCode:
        """Whether all went well."""
        tally = self._tally
        return ExitCode.NOT_ALL if tally.rejected or tally.refused or tally.failed else ExitCode.DONE

    def report(self) -> None:
        """Print the summary: to standard output if that is a terminal, for else it has the receipts."""
        tally, printer = self._tally, output.console(sys.stderr if self._prints else sys.stdout)
        if not self._prints and tally.samples <= _FEW:
            table = Table(box=None, header_style="bold", pad_edge=False)
            for name in ("sample", "state", "id"):
                table.add_column(name, no_wrap=True)
            for entry in self._few:
                table.add_row(entry.place, entry.receipt.state.value, entry.receipt.id)
            printer.print(table, "")
        rows = [("samples", tally.samples, ""), ("accepted", tally.accepted, "")]
        rows += [("rejected", tally.rejected, "kept, with their problems")] * bool(tally.rejected)
        rows += [("refused", tally.refused, "not kept")] * bool(tally.refused)
        rows += [("known before", tally.earlier, "acknowledged before an interruption, not sent again")] * bool(
            tally.earlier
        )
        rows += [("equal", tally.equal, "the same as another one, stored once")] * bool(tally.equal)
        if self._waits:
            rows += [("computed", tally.computed, ""), ("failed", tally.failed, "")]
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(justify="right")
        for name, count, meaning in rows:
            table.add_row(name, f"{count:,}", meaning)
        printer.print(table)
        if tally.problems:
            printer.print()
        for place, text in tally.problems:
            printer.print(f"{place}: {text}")
        if tally.more_problems:
            printer.print(f"and {tally.more_problems:,} more with problems")

    async def _unknown(self, files: list[Path], task: TaskID) -> AsyncGenerator[bytes, None]:
        """Yield what has to be sent, taking note of it."""
        read = 0
        for file in files:
            position = 0
            async with aclosing(sources.in_background(sources.read(file))) as batches:
                async for batch in batches:
                    for item in batch.items:
                        if isinstance(item.raw, DropzoneError):
                            self._refuse(item.place, item.raw)
                            continue
                        digest = sha256(item.raw).digest()
                        if (entry := self._journal.find(digest)) is not None:
                            self._take(Entry(entry.receipt, item.place, entry.earlier), equal=not entry.earlier)
                            continue
                        self._under_way.append((item, digest))
                        yield item.raw
                    position = batch.position
                    self._progress.update(task, completed=read + position)
            read += position

    def _take(self, entry: Entry, *, equal: bool = False) -> None:
        tally, receipt = self._tally, entry.receipt
        tally.earlier += entry.earlier
        tally.equal += equal
        if receipt.state is SampleState.REJECTED:
            tally.rejected += 1
            tally.complain(entry.place, "; ".join(map(str, receipt.problems)))
        else:
            tally.accepted += 1
        self._note(entry)
        if self._prints and not (self._waits and receipt.state is SampleState.PENDING):
            self._print(entry)

    def _settled(self, entry: Entry) -> None:
        tally = self._tally
        if entry.receipt.state is SampleState.COMPUTED:
            tally.computed += 1
        else:
            tally.failed += 1
            tally.complain(entry.place, "; ".join(map(str, entry.receipt.problems)))
        self._few = [entry if known.receipt.id == entry.receipt.id else known for known in self._few]
        if self._prints:
            self._print(entry)

    def _refuse(self, place: str, error: DropzoneError) -> None:
        self._tally.refused += 1
        self._tally.complain(place, str(error))
        if self._prints:
            output.line({"source": place, "error": {"message": str(error), "code": error.code}})

    def _note(self, entry: Entry) -> None:
        if len(self._few) <= _FEW:
            self._few.append(entry)

    def _print(self, entry: Entry) -> None:
        given: dict[str, Any] = {"source": entry.place, **output.plain(entry.receipt)}
        output.line(given)
