"""`dropzone submit`: submits samples from files. The server stores each sample once, even if the command runs again."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dropzone import (
    DEFAULT_URL,
    AsyncClient,
    BadRequest,
    Conflict,
    DropzoneError,
    NotFound,
    Receipt,
    SampleState,
    TooLarge,
    UnusableSample,
)
from dropzone.command import sample_files
from dropzone.command.exit_codes import EXIT_CODES, ExitCode, run
from dropzone.command.options import Key, Labels, Url, connect, not_empty, parse_labels
from dropzone.command.output import printable
from dropzone.command.submission_summary import SubmissionSummary
from dropzone.errors import TRANSIENT
from dropzone.submission.file_format import FileFormat
from dropzone.submission.sample_bytes import check_labels
from dropzone.transport.retry import retrying

_MAX_PENDING_SAMPLES = 10_000
_RETRY_SECONDS = 60.0

EPILOG = (
    "The idempotency key of a sample is derived from its bytes, unless the sample has a member `idempotency_key`. The "
    "server therefore stores each sample once. After Ctrl-C, a crash or an outage, run the same command again. The "
    "command sends all samples again, but the server stores no sample twice. If standard output is not a terminal, the "
    "command prints one line of JSON per sample. Submit a CSV file when it is complete: if a sample gets more rows "
    "later, it is another sample, and both are stored. " + EXIT_CODES
)


def _path(text: str) -> Path:
    return Path(not_empty(text) or "")


def submit(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            parser=_path,
            show_default=False,
            help="JSON file (one sample), NDJSON file (one sample per line) or CSV file (columns time_stamp, "
            "label.NAME and values), also compressed as .gz or .zst. `-` is standard input. If FILE is a folder, the "
            "command submits all such files in the folder and its subfolders.",
        ),
    ],
    *,
    is_waiting: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for the results and print their statistics.")
    ] = False,
    label: Labels = None,
    supersedes: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            callback=not_empty,
            help="Id of the sample to correct. FILE contains only the new version of this sample.",
            show_default=False,
        ),
    ] = None,
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            "-f",
            help="Format of the files. Default: by their names, otherwise by their first lines. For a stream that can "
            "start in the middle of a line, use ndjson.",
            show_default=False,
        ),
    ] = None,
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
    try:
        check_labels(labels)
    except UnusableSample as error:
        raise typer.BadParameter(str(error), param_hint="--label") from error
    submission = Submission(connect(url, key), labels, supersedes, file_format, is_waiting=is_waiting)
    run(_submit(submission, expanded, concurrency))


async def _submit(submission: "Submission", files: list[Path], concurrency: int) -> ExitCode:
    try:
        await submission.send(files, concurrency)
    except (asyncio.CancelledError, DropzoneError):
        if submission.has_started:
            submission.print_interruption()
        raise
    submission.summary.print()
    return submission.summary.exit_code


async def _reach(client: AsyncClient) -> None:
    """Check the server and the key. Retry transient errors: what a pipe contains cannot always be read again."""
    has_warned = False

    async def ping() -> None:
        nonlocal has_warned
        try:
            await client.ping()
        except TRANSIENT as error:
            if not has_warned and (error.retry_after or 0.0) <= _RETRY_SECONDS:
                typer.echo(printable(f"warning: {error}; retrying for up to {_RETRY_SECONDS:g} s"), err=True)
            has_warned = True
            raise

    await retrying(_RETRY_SECONDS)(ping)


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


class Submission:
    """One run of `dropzone submit`."""

    def __init__(
        self,
        client: AsyncClient,
        labels: dict[str, str],
        supersedes: str | None,
        file_format: FileFormat | None,
        *,
        is_waiting: bool,
    ) -> None:
        self.has_started = False
        self._has_sent_all = False
        self._client = client
        self._progress = _progress()
        self._labels = labels
        self._supersedes = supersedes
        self._format = file_format
        self._is_waiting = is_waiting
        self._sent: deque[str] = deque()  # the sources of samples without a receipt, in order
        self._pending: dict[str, list[str]] = {}  # the sources of samples without a result, by sample id
        self.summary = SubmissionSummary(is_waiting=is_waiting)

    async def send(self, files: list[Path], concurrency: int) -> None:
        """Submit all samples of the files. With `--wait`, also wait for their results. Close the client."""
        async with self._client:
            await _reach(self._client)
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
                    self.summary.add_refusal(source, receipt)
                else:
                    self._add_receipt(source, receipt)
                self._progress.update(task, note=f"{self.summary.samples:,} samples")
                if len(self._pending) >= _MAX_PENDING_SAMPLES:  # limits the memory for ids and sources
                    await self._wait()
        self._has_sent_all = True
        await self._wait()

    def print_interruption(self) -> None:
        """Print the number of samples that were stored before the interruption, and how to resume."""
        rest = "wait for the other results" if self._has_sent_all else "submit the other samples"
        typer.echo(
            f"stopped after {self.summary.acknowledged:,} acknowledged samples; run the same command again to {rest}; "
            "the server stores each sample once",
            err=True,
        )

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
            async with aclosing(sample_files.in_background(sample_files.read(file, self._format))) as batches:
                async for batch in batches:
                    for item in batch.items:
                        if isinstance(item.raw, DropzoneError):
                            self.summary.add_refusal(item.source, item.raw)
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
                    self.summary.add_settled(source, sample)
                self._progress.update(task, advance=1, note=f"{total - len(self._pending):,} of {total:,}")
        self._progress.remove_task(task)

    def _add_receipt(self, source: str, receipt: Receipt) -> None:
        is_settled = not self._is_waiting or receipt.state is SampleState.REJECTED
        self.summary.add_receipt(source, receipt, is_settled=is_settled)
        if not is_settled:
            self._pending.setdefault(receipt.id, []).append(source)
