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
from dropzone.command.options import Key, Labels, Submitter, Url, connect, not_empty, opened
from dropzone.command.results import Where, parse_filter
from dropzone.encoding import format_time

EPILOG = (
    "After a broken connection or a restart of the server, the output continues without gaps and duplicates. If "
    "standard output is not a terminal, each line is a JSON object with a result or a removal, and its cursor. If the "
    f"command is killed, the next run with --cursor-file can repeat the last line. {EXIT_CODES}"
)

_START = "start"
"""What a cursor file contains if no result was stored: the next run starts with the first item."""

_Follow = Callable[[str | None], AsyncGenerator[ResultEdge, None] | AsyncGenerator[RemovalEdge, None]]


def watch(
    *,
    where: Where = None,
    label: Labels = None,
    removals: Annotated[
        bool,
        typer.Option(
            "--removals",
            help="Instead of results, print samples that are deleted or superseded.",
        ),
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR",
            callback=not_empty,
            help="Start after the result or removal with this cursor. Default: start after the newest result.",
            show_default=False,
        ),
    ] = None,
    cursor_file: Annotated[
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
    submitter: Submitter = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print each result when it is computed, until Ctrl-C."""
    if removals and (where or label):
        raise typer.BadParameter("cannot be combined with --where or --label", param_hint="--removals")
    if after and cursor_file is not None and cursor_file.exists():
        raise typer.BadParameter(
            f"cannot be combined with --cursor-file, because {cursor_file} contains a cursor", param_hint="--after"
        )
    if cursor_file is not None and not cursor_file.absolute().parent.is_dir():
        raise typer.BadParameter(f"the folder {cursor_file.parent} does not exist", param_hint="--cursor-file")
    logging.basicConfig(format="warning: %(message)s", level=logging.ERROR)
    logging.getLogger("dropzone").setLevel(logging.WARNING)
    cursor = _read_cursor(cursor_file)
    if cursor is None:
        cursor = after
    client, wanted = connect(url, key, submitter), parse_filter(where or [], label)
    follow = client.removals if removals else partial(client.watch, wanted)
    run(_watch(client, follow, cursor, cursor_file, limit))


async def _watch(
    client: AsyncClient,
    follow: _Follow,
    cursor: str | None,
    cursor_file: Path | None,
    limit: int | None,
) -> ExitCode:
    """Print what follows after `cursor`. Without a cursor, start after the newest result, or with the first item."""
    async with opened(client):
        count = 0
        try:
            if cursor is None:
                cursor = await client.newest_cursor() or ""
                _write_cursor(cursor_file, cursor or _START)
            if sys.stderr.isatty():
                typer.echo("watching; press Ctrl-C to stop", err=True)
            async with aclosing(follow(cursor)) as edges:
                async for edge in edges:
                    _print(edge)
                    cursor = edge.cursor
                    _write_cursor(cursor_file, cursor)
                    count += 1
                    if count == limit:
                        break
        except asyncio.CancelledError:
            if cursor_file is not None and cursor_file.exists():
                typer.echo(f"stopped; to resume, run the command with --cursor-file {cursor_file}", err=True)
            elif cursor:
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


def _read_cursor(cursor_file: Path | None) -> str | None:
    """Return the cursor in the file, an empty cursor for the first item, or None without a file."""
    if cursor_file is None or not cursor_file.exists():
        return None
    try:
        text = cursor_file.read_text().strip()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot read {cursor_file}: {error}", param_hint="--cursor-file") from error
    if not text:
        raise typer.BadParameter(
            f"{cursor_file} is empty, as after a power failure; to continue without a gap, delete it and use --after "
            "with the cursor of the last line that you have",
            param_hint="--cursor-file",
        )
    return "" if text == _START else text


def _write_cursor(cursor_file: Path | None, cursor: str) -> None:
    """Replace the file atomically. After a crash, it contains either the old cursor or the new cursor."""
    if cursor_file is None:
        return
    temporary = cursor_file.with_name(f"{cursor_file.name}.new")
    try:
        temporary.write_text(f"{cursor}\n")
        temporary.replace(cursor_file)
    except OSError as error:
        error.filename = cursor_file  # the error of a failed write, for example on a full disk, names no file
        raise
