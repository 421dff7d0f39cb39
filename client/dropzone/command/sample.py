"""`dropzone samples` lists samples, `dropzone show` prints one of them, and `dropzone delete` deletes samples."""

import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import fields
from typing import Annotated

import typer
from rich.bar import Bar
from rich.table import Table

from dropzone import DEFAULT_URL, AsyncClient, Histogram, Result, Sample, SampleFilter, SampleState
from dropzone.command import output
from dropzone.command.exit_codes import ExitCode, run
from dropzone.command.options import (
    IsUnlimited,
    Key,
    Labels,
    Limit,
    MaxItems,
    Submitter,
    Url,
    connect,
    not_empty,
    note_unknown_labels,
    opened,
    parse_labels,
)
from dropzone.encoding import format_time
from dropzone.statistics import Statistics

_MAX_ROWS = 24
_BAR_WIDTH = 40
_NOT_LISTED = {"count", "histogram"}  # these two are printed elsewhere

State = Annotated[
    SampleState | None, typer.Option(case_sensitive=False, help="State of the samples.", show_default=False)
]


def samples(
    *,
    state: State = None,
    label: Labels = None,
    max_items: MaxItems = None,
    is_unlimited: IsUnlimited = False,
    submitter: Submitter = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print samples with their states and problems, the latest submission first."""
    limit = Limit(max_items, is_unlimited=is_unlimited)
    run(_samples(connect(url, key, submitter), SampleFilter(state=state, labels=parse_labels(label)), limit))


def show(
    sample_id: Annotated[
        str, typer.Argument(metavar="ID", callback=not_empty, help="Id of the sample.", show_default=False)
    ],
    *,
    is_raw: Annotated[
        bool, typer.Option("--raw", help="Print the submitted bytes. A terminal shows control characters escaped.")
    ] = False,
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    submitter: Submitter = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print a sample: its state, problems, statistics and histogram."""
    if is_raw and is_json:
        raise typer.BadParameter("cannot be combined with --raw", param_hint="--json")
    client = connect(url, key, submitter)
    run(_print_raw(client, sample_id) if is_raw else _show(client, sample_id, is_json=is_json))


def delete(
    sample_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", parser=not_empty, help="Ids of the samples.", show_default=False),
    ] = None,
    *,
    label: Labels = None,
    state: State = None,
    reason: Annotated[
        str, typer.Option(help="Reason for the deletion. The records of the deleted samples keep it.")
    ] = "",
    is_confirmed: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Delete samples and their results, by ids or by labels and state. Requires a key with the scope admin."""
    where = SampleFilter(state=state, labels=parse_labels(label))
    is_filtered = bool(where.variables())
    if bool(sample_ids) == is_filtered:
        got = "both" if is_filtered else "neither"
        raise typer.BadParameter(f"expected either ids, or --label or --state, got {got}", param_hint="ID")
    run(_delete(connect(url, key), sample_ids, where if is_filtered else None, reason, is_confirmed=is_confirmed))


async def _samples(client: AsyncClient, where: SampleFilter, limit: Limit) -> ExitCode:
    headings = ("submitted (UTC)", "state", "labels", "values", "problem", "id")
    table = Table(*headings, box=None, header_style="bold", pad_edge=False)
    async with opened(client):
        async with aclosing(client.samples(where, limit.requested)) as found:
            is_empty = True
            async for sample in limit.first(found):
                is_empty = False
                if not sys.stdout.isatty():
                    output.print_line(output.to_json(sample))
                    continue
                texts = (format_time(sample.submitted_at), sample.state.value, output.label_cell(sample.labels))
                table.add_row(*texts, f"{sample.count:,}", output.printable(_first_problem(sample)), sample.id)
        if is_empty and limit.requested != 0:
            await note_unknown_labels(client, where.labels)
    if table.row_count:
        output.console().print(table)
    elif sys.stdout.isatty():
        typer.echo("no samples", err=True)
    limit.note("samples")
    return ExitCode.DONE


async def _delete(
    client: AsyncClient, sample_ids: list[str] | None, where: SampleFilter | None, reason: str, *, is_confirmed: bool
) -> ExitCode:
    async with opened(client):
        question = f"Delete {_described(sample_ids)}? This cannot be undone."
        if not is_confirmed and not output.confirm(question):
            return ExitCode.INCOMPLETE
        deleted = await client.delete(sample_ids or None, where, reason=reason)
        if where is not None and deleted == 0:
            await note_unknown_labels(client, where.labels)
    output.print_line({"deleted": deleted})
    given = len(set(sample_ids or ()))
    if deleted < given:
        typer.echo(f"error: not found, or deleted already: {given - deleted:,} of {given:,} samples", err=True)
        return ExitCode.INCOMPLETE
    return ExitCode.DONE


def _first_problem(sample: Sample) -> str:
    if not sample.problems:
        return ""
    others = len(sample.problems) - 1
    return f"{sample.problems[0]} (and {others} more)" if others else str(sample.problems[0])


def _described(sample_ids: list[str] | None) -> str:
    """Return a description of the deleted samples, for the question to the user."""
    if not sample_ids:
        return "all matching samples and their results"
    count = len(set(sample_ids))
    return "1 sample and its result" if count == 1 else f"{count:,} samples and their results"


async def _print_raw(client: AsyncClient, sample_id: str) -> ExitCode:
    async with opened(client):
        output.print_bytes(await client.raw(sample_id))
    return ExitCode.DONE


async def _show(client: AsyncClient, sample_id: str, *, is_json: bool) -> ExitCode:
    async with opened(client):
        sample = await client.sample(sample_id)
    if is_json:
        output.print_line(output.to_json(sample))
        return ExitCode.DONE
    console = output.console()
    console.print(output.name_value_table(_sample_rows(sample)))
    console.print("", output.name_value_table(_timeline_rows(sample)), sep="\n")
    if sample.result is not None:
        console.print("", output.name_value_table(_statistic_rows(sample.result)), sep="\n")
        if sample.result.histogram is not None:
            console.print("", _histogram_table(sample.result.histogram), sep="\n")
    return ExitCode.DONE


def _sample_rows(sample: Sample) -> Iterator[tuple[str, str]]:
    yield "sample", sample.id
    yield "state", sample.state.value
    for problem in sample.problems:
        yield "problem", str(problem)
    if sample.failed_attempts is not None:
        attempts = sample.failed_attempts
        yield "failed", f"{attempts.count:,} attempts until {format_time(attempts.updated_at)}"
        yield "last problem", attempts.problem
    yield "submitted", format_time(sample.submitted_at)
    if sample.submitted_by is not None:
        yield "submitted by", sample.submitted_by
    if sample.expires_at is not None:
        yield "expires", format_time(sample.expires_at)
    yield "time stamp", sample.time_stamp or "none"
    if sample.result is not None:
        yield "in UTC", format_time(sample.result.timestamp)
        yield "computed", f"{format_time(sample.result.computed_at)}, version {sample.result.statistics_version}"
    for name, value in sample.labels.items():
        yield f"label {name}", value
    yield "values", f"{sample.count:,}"
    if sample.missing_count:
        yield "missing", f"{sample.missing_count:,}"
    yield "size", f"{sample.bytes:,} bytes"
    yield "SHA-256", sample.sha256


def _timeline_rows(sample: Sample) -> Iterator[tuple[str, str]]:
    for entry in sample.timeline:
        yield format_time(entry.at), entry.event if entry.detail is None else f"{entry.event}: {entry.detail}"


def _statistic_rows(result: Result) -> Iterator[tuple[str, str]]:
    for field in fields(Statistics):
        value = getattr(result, field.name)
        if field.name not in _NOT_LISTED and value is not None:
            yield field.name.replace("_", " "), repr(value)


def _histogram_table(histogram: Histogram) -> Table:
    """Return one row per bin. If there are more than `_MAX_ROWS` bins, one row is for a group of adjacent bins."""
    bins_per_row = -(-len(histogram.counts) // _MAX_ROWS)
    starts = range(0, len(histogram.counts), bins_per_row)
    counts = [sum(histogram.counts[start : start + bins_per_row]) for start in starts]
    edges = [histogram.edges[start] for start in starts] + [histogram.edges[-1]]
    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    for row, count in enumerate(counts):
        bar = Bar(max(counts), 0, count, width=_BAR_WIDTH, color="cyan")
        table.add_row(output.number(edges[row]), "to " + output.number(edges[row + 1]), f"{count:,}", bar)
    return table
