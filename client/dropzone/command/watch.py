"""`dropzone watch`: prints new results, or removals.

It continues after a broken connection and after a restart of the server.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dropzone import DEFAULT_URL, AsyncClient, Removal, RemovalEdge, Result, ResultEdge
from dropzone.command import output
from dropzone.command.exit_codes import EXIT_CODES, ExitCode, run
from dropzone.command.options import Key, Labels, Submitter, Url, connect, opened
from dropzone.command.results import Where, parse_filter
from dropzone.encoding import format_time

EPILOG = (
    "After a broken connection or a restart of the server, the output continues without gaps and duplicates. If "
    "standard output is not a terminal, each line is a JSON object with a result or a removal, and its cursor. If the "
    f"command is killed, the next run with --state can repeat the last line. {EXIT_CODES}"
)

_START = "start"
"""What a state file contains instead of a cursor if no result was stored: the next run starts with the first result."""

_Follow = Callable[[str | None], AsyncGenerator[ResultEdge, None] | AsyncGenerator[RemovalEdge, None]]


def watch(
    *,
    where: Where = None,
    label: Labels = None,
    removals: Annotated[
        bool,
        typer.Option(
            "--removals",
            help=(
                "Instead of results, print samples that are deleted or superseded. Without --after, start after the "
                "newest result."
            ),
        ),
    ] = False,
    after: Annotated[
        str,
        typer.Option(
            metavar="CURSOR",
            help="Start after the result or removal with this cursor. Default: start with the next one.",
            show_default=False,
        ),
    ] = "",
    state: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="File that stores the cursor of the last result or removal. If the file exists, start after it.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="Exit after this number of results or removals.", show_default=False),
    ] = None,
    submitter: Submitter = "",
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print each result when it is computed, until Ctrl-C."""
    if removals and (where or label):
        raise typer.BadParameter("cannot be combined with --where or --label", param_hint="--removals")
    if after and state is not None and state.exists():
        raise typer.BadParameter(
            f"cannot be combined with --state, because {state} contains a cursor", param_hint="--after"
        )
    if state is not None and not state.absolute().parent.is_dir():
        raise typer.BadParameter(f"the folder {state.parent} does not exist", param_hint="--state")
    logging.basicConfig(format="warning: %(message)s", level=logging.ERROR)
    logging.getLogger("dropzone").setLevel(logging.WARNING)
    cursor = _read_cursor(state)
    if cursor is None:
        cursor = after or None
    client, wanted = connect(url, key, submitter), parse_filter(where or [], label)
    follow = client.removals if removals else partial(client.watch, wanted)
    first = None if removals else ""  # a stream of removals has no cursor before its first item
    run(_watch(client, follow, cursor, first, state, limit))


async def _watch(
    client: AsyncClient, follow: _Follow, cursor: str | None, first: str | None, state: Path | None, limit: int | None
) -> ExitCode:
    """Print what follows after `cursor`. Without a cursor, start after the newest result, or at the cursor `first`."""
    async with opened(client):
        count = 0
        try:
            if cursor is None:
                cursor = await client.newest_cursor() or first
                if cursor is not None:
                    _write_cursor(state, cursor or _START)
            if sys.stderr.isatty():
                typer.echo("watching; press Ctrl-C to stop", err=True)
            async with aclosing(follow(cursor)) as edges:
                async for edge in edges:
                    _print(edge)
                    cursor = edge.cursor
                    _write_cursor(state, cursor)
                    count += 1
                    if count == limit:
                        break
        except asyncio.CancelledError:
            if cursor:
                typer.echo(f"stopped; to resume, run the command with --after {cursor}", err=True)
            raise
    return ExitCode.DONE


def _print(edge: ResultEdge | RemovalEdge) -> None:
    item = edge.removal if isinstance(edge, RemovalEdge) else edge.result
    if not sys.stdout.isatty():
        output.print_line({"cursor": edge.cursor, **output.to_json(item)})
        return
    sys.stdout.write(f"{_described(item)}\n")
    sys.stdout.flush()


def _described(item: Result | Removal) -> str:
    if isinstance(item, Result):
        mean = f"{output.number(item.mean)} ± {output.number(item.standard_deviation)}"
        return f"{format_time(item.timestamp)}  {mean:<26}  {item.count:>9,} values  {item.id}"
    superseded = f"superseded by {item.superseded_by}"
    change = superseded if item.superseded_by else f"deleted  {output.printable(item.reason)}"
    return f"{format_time(item.removed_at)}  {item.id}  {change}"


def _read_cursor(state: Path | None) -> str | None:
    """Return the cursor in the file, an empty cursor for the first result, or None without a file."""
    if state is None or not state.exists():
        return None
    try:
        text = state.read_text().strip()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot read {state}: {error}", param_hint="--state") from error
    if not text:
        raise typer.BadParameter(
            f"{state} is empty, as after a power failure; to continue without a gap, delete it and use --after with "
            "the cursor of the last line that you have",
            param_hint="--state",
        )
    return "" if text == _START else text


def _write_cursor(state: Path | None, cursor: str) -> None:
    """Replace the file atomically. After a crash, it contains either the old cursor or the new cursor."""
    if state is None:
        return
    temporary = state.with_name(f"{state.name}.new")
    try:
        temporary.write_text(f"{cursor}\n")
        temporary.replace(state)
    except OSError as error:
        error.filename = state  # the error of a failed write, for example on a full disk, names no file
        raise
