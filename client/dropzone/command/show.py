"""`dropzone show`: one sample, with everything that is known of it, and its values as a picture."""

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated

import typer
from rich.bar import Bar
from rich.table import Table

from dropzone import AsyncClient, Histogram, Result, Sample
from dropzone.command import output
from dropzone.command.access import DEFAULT_URL, ExitCode, Key, Url, connect, run
from dropzone.model import moment_text

_MAX_BINS = 24
_BAR_WIDTH = 40
_OF_THE_SAMPLE = {"id", "timestamp", "count", "histogram", "computed_at", "statistics_version"}


def show(
    sample_id: Annotated[str, typer.Argument(metavar="ID", help="The id that the receipt gave.", show_default=False)],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print the sample byte for byte as it was submitted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print a sample: its state, its problems, its statistics and a histogram."""
    if raw and json:
        raise typer.BadParameter("not together with --raw", param_hint="--json")
    client = connect(url, key)
    run(_raw(client, sample_id) if raw else _show(client, sample_id, as_json=json))


async def _raw(client: AsyncClient, sample_id: str) -> ExitCode:
    async with client:
        sys.stdout.buffer.write(await client.raw(sample_id))
    return ExitCode.DONE


async def _show(client: AsyncClient, sample_id: str, *, as_json: bool) -> ExitCode:
    async with client:
        sample = await client.sample(sample_id)
    if as_json:
        output.line(output.plain(sample))
        return ExitCode.DONE
    printer = output.console()
    printer.print(output.pairs(_about(sample)))
    if sample.result is not None:
        printer.print("", output.pairs(_statistics(sample.result)), sep="\n")
        if sample.result.histogram is not None:
            printer.print("", _drawn(sample.result.histogram), sep="\n")
    return ExitCode.DONE


def _about(sample: Sample) -> Iterator[tuple[str, str]]:
    yield "sample", sample.id
    yield "state", sample.state.value
    for problem in sample.problems:
        yield "problem", str(problem)
    yield "submitted", moment_text(sample.submitted_at)
    yield "time stamp", sample.time_stamp or "none"
    if sample.result is not None:
        yield "in UTC", moment_text(sample.result.timestamp)
        yield "computed", f"{moment_text(sample.result.computed_at)}, version {sample.result.statistics_version}"
    yield "values", f"{sample.count:,}"
    yield "size", f"{sample.bytes:,} bytes"
    yield "SHA-256", sample.sha256


def _statistics(result: Result) -> Iterator[tuple[str, str]]:
    for field in fields(result):
        value = getattr(result, field.name)
        if field.name not in _OF_THE_SAMPLE and value is not None:
            yield field.name.replace("_", " "), repr(value)


def _drawn(histogram: Histogram) -> Table:
    """Draw the bins, neighbours together where there are many."""
    together = -(-len(histogram.counts) // _MAX_BINS)
    starts = range(0, len(histogram.counts), together)
    counts = [sum(histogram.counts[start : start + together]) for start in starts]
    edges = [histogram.edges[start] for start in starts] + [histogram.edges[-1]]
    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    for number, count in enumerate(counts):
        bar = Bar(max(counts), 0, count, width=_BAR_WIDTH, color="cyan")
        table.add_row(output.number(edges[number]), "to " + output.number(edges[number + 1]), f"{count:,}", bar)
    return table
