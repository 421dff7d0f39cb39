"""`dropzone results`: what was computed, chosen, ordered and in the form that is wanted."""

import math
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import fields, replace
from datetime import datetime
from typing import Annotated, Any

import typer

from dropzone import AsyncClient, OrderField, Range, ResultFilter, ResultOrder
from dropzone.command.access import DEFAULT_URL, EXIT_CODES, ExitCode, Key, Url, connect, run
from dropzone.command.output import Format, FormatOption, Rows, choose

_FIELDS = [field.name for field in fields(ResultFilter)]
_SIDES = [field.name for field in fields(Range)]


def _complete(incomplete: str) -> list[str]:
    choices = [f"{name}.{side}=" for name in _FIELDS for side in _SIDES]
    return [choice for choice in choices if choice.startswith(incomplete)]


EPILOG = f"Many are best printed as ndjson or csv, which takes no memory. {EXIT_CODES}"

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Only results for which this holds, such as mean.gte=1.5 or timestamp.lt=2026-01-01T00:00:00Z. Any number "
        f"of them, all must hold: {', '.join(_FIELDS)}; gte (at least), gt (more than), lte (at most), lt (less than).",
        show_default=False,
        autocompletion=_complete,
    ),
]


def results(
    *,
    where: Where = None,
    order_by: Annotated[
        OrderField | None, typer.Option(help="By what; the latest time stamp first, unless said.")
    ] = None,
    descending: Annotated[bool, typer.Option("--descending", "-d", help="The largest or latest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many at most.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="However many there are.")] = False,
    form: FormatOption = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print results."""
    if descending and order_by is None:
        raise typer.BadParameter("say by what, with --order-by", param_hint="--descending")
    order = None if order_by is None else ResultOrder(order_by, descending)
    run(_results(connect(url, key), parse(where or []), order, None if everything else limit, choose(form)))


async def _results(
    client: AsyncClient, where: ResultFilter, order: ResultOrder | None, limit: int | None, form: Format
) -> ExitCode:
    rows = Rows(form)
    async with client, aclosing(client.results(where, order, limit)) as found:
        async for result in found:
            rows.add(result)
    rows.end()
    return ExitCode.DONE


def parse(conditions: Iterable[str]) -> ResultFilter:
    """Return the filter that conditions such as `mean.gte=1.5` make. Raises a usage error."""
    ranges: dict[str, Range] = {}
    for condition in conditions:
        name, side, value = _split(condition)
        known = ranges.get(name, Range())
        if getattr(known, side) is not None:
            raise _wrong(f"{name}.{side} is given twice")
        bound: dict[str, Any] = {side: _bound(name, value)}
        ranges[name] = replace(known, **bound)
    given: dict[str, Any] = dict(ranges)
    return ResultFilter(**given)


def _split(condition: str) -> tuple[str, str, str]:
    left, equals, value = condition.partition("=")
    name, _, side = left.strip().partition(".")
    if not equals or name not in _FIELDS or side not in _SIDES:
        raise _wrong(f"expected something like mean.gte=1.5, got {condition}")
    return name, side, value.strip()


def _bound(name: str, value: str) -> float | datetime:
    try:
        if name == "timestamp":
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is not None else moment.astimezone()
        if name == "count":
            return int(value)
        if math.isfinite(number := float(value)):
            return number
    except ValueError:
        pass
    expected = {"timestamp": "a time such as 2026-01-01T00:00:00Z", "count": "a whole number"}.get(name, "a number")
    raise _wrong(f"expected {expected}, got {value}")


def _wrong(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--where")
