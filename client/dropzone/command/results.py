"""`dropzone results`, `dropzone latest` and `dropzone summary`: filtered results in several formats, and summaries."""

import math
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import fields, replace
from datetime import datetime
from typing import Annotated, Any

import typer

from dropzone import (
    DEFAULT_URL,
    AsyncClient,
    OrderField,
    Range,
    ResultFilter,
    ResultOrder,
    Summary,
    TimeBucket,
)
from dropzone.command import output
from dropzone.command.exit_codes import EXIT_CODES, ExitCode, run
from dropzone.command.options import (
    IsUnlimited,
    Key,
    Labels,
    Limit,
    MaxItems,
    Submitter,
    Url,
    connect,
    note_unknown_labels,
    opened,
    parse_labels,
)
from dropzone.command.output import Format, FormatOption, ResultPrinter, RowPrinter, choose_format

_FIELDS = [field.name for field in fields(ResultFilter) if field.name != "labels"]
_SUMMARY_COLUMNS = ("results", "values", "mean", "standard_deviation", "minimum", "median", "percentile_95", "maximum")
_BOUNDS = [field.name for field in fields(Range)]


def _complete(incomplete: str) -> list[str]:
    conditions = [f"{name}.{bound}=" for name in _FIELDS for bound in _BOUNDS]
    return [condition for condition in conditions if condition.startswith(incomplete)]


EPILOG = f"A table stays in memory until the last result. For many results, use ndjson or csv. {EXIT_CODES}"

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Condition such as mean.gte=1.5 or timestamp.lt=2026-01-01T00:00:00Z. Repeat the option to combine "
        f"conditions. Fields: {', '.join(_FIELDS)}. "
        "Bounds: gte (at least), gt (more than), lte (at most), lt (less than).",
        show_default=False,
        autocompletion=_complete,
    ),
]


def results(
    *,
    where: Where = None,
    label: Labels = None,
    order_by: Annotated[OrderField | None, typer.Option(help="Order. Default: the latest time stamp first.")] = None,
    descending: Annotated[bool, typer.Option("--descending", "-d", help="Sort in descending order.")] = False,
    max_items: MaxItems = None,
    is_unlimited: IsUnlimited = False,
    output_format: FormatOption = None,
    submitter: Submitter = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print results."""
    if descending and order_by is None:
        raise typer.BadParameter("requires --order-by", param_hint="--descending")
    limit = Limit(max_items, is_unlimited=is_unlimited)
    order = None if order_by is None else ResultOrder(order_by, descending)
    client = connect(url, key, submitter)
    run(_results(client, parse_filter(where or [], label), order, limit, choose_format(output_format)))


def latest(
    *,
    group_by: Annotated[
        list[str],
        typer.Option("--by", metavar="NAME", help="Group by this label. Repeat the option for several labels."),
    ],
    where: Where = None,
    label: Labels = None,
    output_format: FormatOption = None,
    submitter: Submitter = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print the latest result of each combination of labels."""
    client = connect(url, key, submitter)
    run(_latest(client, group_by, parse_filter(where or [], label), choose_format(output_format)))


def summary(
    *,
    group_by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="NAME", help="Group by this label. Repeat the option for several labels."),
    ] = None,
    bucket: Annotated[
        TimeBucket | None,
        typer.Option(
            case_sensitive=False, help="Print a summary for each time bucket. Default: one summary for the whole time."
        ),
    ] = None,
    where: Where = None,
    label: Labels = None,
    output_format: FormatOption = None,
    submitter: Submitter = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print the statistics of all values of the results: in total, or for each group and time bucket."""
    client = connect(url, key, submitter)
    run(_summary(client, group_by or [], bucket, parse_filter(where or [], label), choose_format(output_format)))


async def _summary(
    client: AsyncClient, group_by: list[str], bucket: TimeBucket | None, where: ResultFilter, output_format: Format
) -> ExitCode:
    rows: list[tuple[dict[str, Any], Summary]]
    async with opened(client):
        if bucket is not None:
            buckets = await client.over_time(bucket, where, group_by)
            rows = [({"start": each.start, "labels": each.labels}, each.summary) for each in buckets]
        elif group_by:
            groups = await client.groups(group_by, where)
            rows = [({"labels": each.labels}, each.summary) for each in groups]
        else:
            rows = [({}, await client.summary(where))]
        if not any(values.results or values.archived_results for _, values in rows):
            await note_unknown_labels(client, where.labels)
    of_group = () if not (bucket or group_by) else ("start", "labels") if bucket else ("labels",)
    texts = ["start (UTC)" if name == "start" else name for name in of_group]
    numbers = [name.replace("_", " ") for name in _SUMMARY_COLUMNS]
    columns = (*of_group, *(field.name for field in fields(Summary)))
    printer = RowPrinter(output_format, columns, dict.fromkeys(texts, True) | dict.fromkeys(numbers, False))
    for group, values in rows:
        row = {name: output.to_json(value) for name, value in group.items()}
        cells = [output.label_cell(value) if name == "labels" else value for name, value in row.items()]
        cells += [output.number(getattr(values, name)) for name in _SUMMARY_COLUMNS]
        printer.add(row | output.to_json(values), cells)
    printer.end()
    if group_by:
        _note_unknown(group_by, (group["labels"] for group, _ in rows))
    return ExitCode.DONE


async def _latest(client: AsyncClient, group_by: list[str], where: ResultFilter, output_format: Format) -> ExitCode:
    printer = ResultPrinter(output_format)
    async with opened(client):
        results = await client.latest(group_by, where)
        if not results:
            await note_unknown_labels(client, where.labels)
    for result in results:
        printer.add_result(result)
    printer.end()
    _note_unknown(group_by, (result.labels for result in results))
    return ExitCode.DONE


def _note_unknown(names: Iterable[str], found: Iterable[Mapping[str, str]]) -> None:
    """Say on standard error which labels no printed group has, because the name of a label can be mistyped."""
    known = {name for labels in found for name in labels}
    for name in names:
        if name not in known:
            typer.echo(f"note: no selected result has the label {name}", err=True)


async def _results(
    client: AsyncClient, where: ResultFilter, order: ResultOrder | None, limit: Limit, output_format: Format
) -> ExitCode:
    printer = ResultPrinter(output_format)
    async with opened(client):
        async with aclosing(client.results(where, order, limit.requested)) as results:
            async for result in limit.first(results):
                printer.add_result(result)
        printer.end()
        limit.note("results")
        if printer.is_empty and limit.requested != 0:
            await note_unknown_labels(client, where.labels)
    return ExitCode.DONE


def parse_filter(conditions: Iterable[str], labels: Iterable[str] | None) -> ResultFilter:
    """Return the filter for conditions such as `mean.gte=1.5` and labels such as `site=zurich`.

    Raises `typer.BadParameter` if one is invalid.
    """
    ranges: dict[str, Range] = {}
    for condition in conditions:
        name, side, value = _split(condition)
        current = ranges.get(name, Range())
        if getattr(current, side) is not None:
            raise _usage_error(f"the bound {name}.{side} appears twice; use each bound once")
        bound: dict[str, Any] = {side: _parse_bound(name, value)}
        ranges[name] = replace(current, **bound)
    arguments: dict[str, Any] = dict(ranges)
    return ResultFilter(**arguments, labels=parse_labels(labels))


def _split(condition: str) -> tuple[str, str, str]:
    left, equals, value = condition.partition("=")
    name, _, side = left.strip().partition(".")
    if not equals or name not in _FIELDS or side not in _BOUNDS:
        parts = f"one of {', '.join(_FIELDS)}, and one of {', '.join(_BOUNDS)}"
        raise _usage_error(f"expected a condition such as mean.gte=1.5, with {parts}, got {condition}")
    return name, side, value.strip()


def _parse_bound(name: str, value: str) -> float | datetime:
    try:
        if name == "timestamp":
            time = datetime.fromisoformat(value)
            if time.tzinfo is not None:
                return time
            raise _usage_error(f"expected a time with a UTC offset, such as 2026-01-01T00:00:00Z, got {value}")
        if name == "count":
            return int(value)
        if math.isfinite(number := float(value)):
            return number
    except ValueError:
        pass
    expected = {"timestamp": "a time such as 2026-01-01T00:00:00Z", "count": "an integer"}.get(name, "a number")
    raise _usage_error(f"expected {expected} for {name}, got {value}")


def _usage_error(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--where")
