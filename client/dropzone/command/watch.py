"""`dropzone watch`: results as they come, over whatever breaks in between."""

import asyncio
import logging
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from dropzone import AsyncClient, ResultEdge, ResultFilter
from dropzone.command import output
from dropzone.command.access import DEFAULT_URL, EXIT_CODES, ExitCode, Key, Url, connect, run
from dropzone.command.results import Where, parse
from dropzone.model import moment_text

EPILOG = (
    "A lost connection or a restart of the server leaves no gap and repeats nothing. Where standard output is no "
    "terminal, each line is JSON with the cursor of its result. Killed while it prints, it may print the last result "
    f"again. {EXIT_CODES}"
)


def watch(
    *,
    where: Where = None,
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="Begin behind this result, with what came since.", show_default=False)
    ] = "",
    state: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Keep the cursor in this file, and begin where it says.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="End after so many.", show_default=False)
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print each result when it is there, from now on or from a cursor, until Ctrl-C."""
    if after and state is not None and state.exists():
        raise typer.BadParameter(f"{state} says already where to begin", param_hint="--after")
    if state is not None and not state.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {state.parent}", param_hint="--state")
    logging.basicConfig(format="dropzone: %(message)s", level=logging.ERROR)
    logging.getLogger("dropzone").setLevel(logging.WARNING)
    cursor = _read(state) or after or None
    run(_watch(connect(url, key), parse(where or []), cursor, state, limit))


async def _watch(
    client: AsyncClient, where: ResultFilter, cursor: str | None, state: Path | None, limit: int | None
) -> ExitCode:
    async with client:
        await client.ping()
        count = 0
        try:
            if cursor is None and (cursor := await client.cursor()) is not None:
                _write(state, cursor)
            if sys.stderr.isatty():
                typer.echo("dropzone: watching; Ctrl-C ends it", err=True)
            async with aclosing(client.watch(where, cursor)) as edges:
                async for edge in edges:
                    _print(edge)
                    cursor = edge.cursor
                    _write(state, cursor)
                    count += 1
                    if count == limit:
                        break
        except asyncio.CancelledError:
            if cursor is not None:
                typer.echo(f"dropzone: go on with --after {cursor}", err=True)
            raise
    return ExitCode.DONE


def _print(edge: ResultEdge) -> None:
    if not sys.stdout.isatty():
        output.line({"cursor": edge.cursor, **output.plain(edge.result)})
        return
    result = edge.result
    numbers = f"{output.number(result.mean)} ± {output.number(result.standard_deviation)}"
    sys.stdout.write(f"{moment_text(result.timestamp)}  {numbers:<26}  {result.count:>9,} values  {result.id}\n")
    sys.stdout.flush()


def _read(state: Path | None) -> str:
    if state is None or not state.exists():
        return ""
    try:
        return state.read_text().strip()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot be read: {error}", param_hint="--state") from error


def _write(state: Path | None, cursor: str) -> None:
    if state is None:
        return
    new = state.with_name(f"{state.name}.new")
    new.write_text(f"{cursor}\n")
    new.replace(state)
