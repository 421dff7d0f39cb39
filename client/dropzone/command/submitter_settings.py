"""`dropzone retention` and `dropzone missing-values` print settings of the submitter, and change them."""

import re
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from dropzone import DEFAULT_URL, AsyncClient, HourlyRetention, Retention
from dropzone.command import output
from dropzone.command.exit_codes import ExitCode, run
from dropzone.command.options import Key, Url, connect, opened

_DAYS = re.compile(r"[0-9]{1,9}")
"""Python also accepts the digits of other scripts. The server accepts a number of up to 32 bits, and checks it."""


def _option(help_text: str) -> Any:
    return typer.Option(metavar="DAYS", help=help_text, show_default=False)


class MissingValues(StrEnum):
    """What happens to a sample with a null in its data."""

    SKIP = "skip"
    REJECT = "reject"


def retention(
    *,
    samples: Annotated[str | None, _option("Number of days to keep samples, or `forever`.")] = None,
    results: Annotated[str | None, _option("Number of days to keep results, or `forever`.")] = None,
    hourly: Annotated[
        str | None,
        _option(
            "Number of days to keep the hourly statistics of expired results, or `forever`. With `off`, they are "
            "deleted with the results."
        ),
    ] = None,
    is_default: Annotated[bool, typer.Option("--default", help="Use the default retention of the server.")] = False,
    is_confirmed: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print how long samples, results and hourly statistics are kept. To change this, use a key with the scope admin.

    A change applies to samples that are submitted later. The expiry time of stored samples and results does not change.
    """
    changes: dict[str, Any] = {
        field: _days(text, option)
        for field, text, option in (("sample_days", samples, "--samples"), ("result_days", results, "--results"))
        if text is not None
    }
    if hourly is not None:
        changes["hourly"] = None if hourly == "off" else HourlyRetention(_days(hourly, "--hourly"))
    if changes and is_default:
        raise typer.BadParameter("cannot be combined with --samples, --results or --hourly", param_hint="--default")
    run(_retention(connect(url, key), changes, is_default=is_default, is_confirmed=is_confirmed))


def missing_values(
    change: Annotated[
        MissingValues | None,
        typer.Argument(
            metavar="skip|reject",
            help="skip: the statistics leave out nulls. reject: a sample with a null is rejected, unless it has the "
            'member `"missing": "skip"`. A change applies to samples that are submitted later.',
            show_default=False,
        ),
    ] = None,
    *,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print whether nulls in samples are skipped or rejected. To change this, use a key with the scope admin."""
    run(_missing_values(connect(url, key), change))


async def _missing_values(client: AsyncClient, change: MissingValues | None) -> ExitCode:
    async with opened(client):
        if change is not None:
            await client.skip_missing_values(change is MissingValues.SKIP)
        skips = await client.skips_missing_values()
    output.print_line({"missing_values": MissingValues.SKIP if skips else MissingValues.REJECT})
    return ExitCode.DONE


async def _retention(client: AsyncClient, changes: dict[str, Any], *, is_default: bool, is_confirmed: bool) -> ExitCode:
    async with opened(client):
        retention = await client.retention()
        if changes or is_default:
            changed = None if is_default else replace(retention, **changes)
            if not is_confirmed and not output.confirm(_question(changed)):
                return ExitCode.INCOMPLETE
            retention = await client.set_retention(changed)
    output.print_line(output.to_json(retention))
    return ExitCode.DONE


def _days(text: str, option: str) -> int | None:
    if text == "forever":
        return None
    if not _DAYS.fullmatch(text) or int(text) < 1:
        also = ", or off" if option == "--hourly" else ""
        raise typer.BadParameter(f"expected a number of days from 1, or forever{also}, got {text}", param_hint=option)
    return int(text)


def _question(changed: Retention | None) -> str:
    if changed is None:
        return "Use the default retention of the server for all samples that are submitted from now on?"
    parts = [
        f"{name} {'are kept forever' if days is None else f'are deleted after {days:,} days'}"
        for name, days in (("samples", changed.sample_days), ("their results", changed.result_days))
    ]
    hourly = ""
    if changed.hourly is not None:
        days = changed.hourly.days
        hourly = f", but their hourly statistics are kept {'forever' if days is None else f'for {days:,} days'}"
    return f"From now on, submitted {' and '.join(parts)}{hourly}. Continue?"
