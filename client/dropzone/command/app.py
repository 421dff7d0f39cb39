"""The commands put together."""

from importlib.metadata import version
from typing import Annotated

import typer

from dropzone.command import local, output, results, show, submit, watch
from dropzone.command.access import EXIT_CODES

app = typer.Typer(
    name="dropzone",
    help="Submit measurements, get their statistics: at once if you watch, whenever you ask.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command(epilog=submit.EPILOG)(submit.submit)
app.command(epilog=results.EPILOG)(results.results)
app.command(epilog=watch.EPILOG)(watch.watch)
app.command(epilog=EXIT_CODES)(show.show)
app.command(context_settings=local.PASSES_ON)(local.keys)
app.command(context_settings=local.PASSES_ON)(local.up)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dropzone {version('dropzone')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    del show_version


def main() -> None:
    """Run the command that was asked for."""
    output.prepare()
    app(prog_name="dropzone")
