"""The application `dropzone`: it combines all commands.

It refuses to run if the name of an environment variable is misspelled, because the variable would have no effect.
"""

import difflib
import logging
import os
from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated

import typer
from stamina.instrumentation import set_on_retry_hooks

from dropzone.command import operator_commands, output, results, sample, submit, submitter_settings, watch
from dropzone.command.exit_codes import EXIT_CODES, ExitCode, print_os_error
from dropzone.sign_in import commands as sign_in

SETTINGS = ("DROPZONE_LOGIN_SECRET", "DROPZONE_DATA_DIR", "DROPZONE_KEY", "DROPZONE_URL")
MIN_SIMILARITY = 0.85
"""The minimum similarity of a name to a setting at which the name counts as misspelled. Other names are ignored."""

app = typer.Typer(
    name="dropzone",
    help="Submit samples, and read and watch their statistics.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command(epilog=submit.EPILOG)(submit.submit)
app.command(epilog=results.EPILOG)(results.results)
app.command(epilog=EXIT_CODES)(results.latest)
app.command(epilog=EXIT_CODES)(results.summary)
app.command(epilog=watch.EPILOG)(watch.watch)
app.command(epilog=EXIT_CODES)(sample.samples)
app.command(epilog=EXIT_CODES)(sample.show)
app.command(epilog=EXIT_CODES)(sample.delete)
app.command(epilog=EXIT_CODES)(submitter_settings.retention)
app.command(epilog=EXIT_CODES)(submitter_settings.missing_values)
app.command(epilog=sign_in.EPILOG)(sign_in.login)
app.command(epilog=EXIT_CODES)(sign_in.logout)
app.command(epilog=EXIT_CODES)(sign_in.whoami)
app.command(context_settings=operator_commands.PASS_ARGUMENTS)(operator_commands.keys)
app.command(context_settings=operator_commands.PASS_ARGUMENTS)(operator_commands.up)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"dropzone {version('dropzone')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    del show_version
    if (sentence := misspelled_setting()) is not None:
        typer.echo(f"error: {sentence}", err=True)
        raise typer.Exit(ExitCode.USAGE)


def misspelled_setting(names: Iterable[str] = os.environ) -> str | None:
    """Return an error message for the first variable whose name resembles the name of a setting, or None."""
    for name in sorted(set(names) - set(SETTINGS)):
        if nearest := difflib.get_close_matches(name, SETTINGS, n=1, cutoff=MIN_SIMILARITY):
            return f"{name} is not a setting; did you mean {nearest[0]}?"
    return None


def main() -> None:
    """Run the command line."""
    output.prepare()
    set_on_retry_hooks(())  # do not log retries: standard error is only for errors
    logging.getLogger("dropzone").setLevel(logging.ERROR)
    try:
        app(prog_name="dropzone")
    except OSError as error:  # while it prints the help or the version, or checks an argument
        raise SystemExit(print_os_error(error)) from None
