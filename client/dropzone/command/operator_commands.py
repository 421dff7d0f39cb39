"""`dropzone keys` and `dropzone up`: each command replaces this process with an operator command of the checkout."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import typer

from dropzone.command.exit_codes import ExitCode
from dropzone.command.local_stack import checkout

PASS_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

_FIRESTORE_VARIABLES = ("FIRESTORE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS")


def keys(context: typer.Context) -> None:
    """Create, list and revoke API keys. For operators.

    The command uses the Firestore that FIRESTORE_EMULATOR_HOST or the Google Cloud credentials select. The default is
    the Firestore on this machine.
    """
    is_selected = any(name in os.environ for name in _FIRESTORE_VARIABLES)
    folder = _require_checkout()
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    firestore = {} if is_selected else _local_firestore()
    _execute("graphql_api.auth.keys", "dropzone keys", context.args, firestore | {"PYTHONPATH": path})


def up(context: typer.Context) -> None:
    """Start the API, the function and a durable Firestore on this machine. Ctrl-C stops them. For operators."""
    os.chdir(_require_checkout())
    _execute("infra.embedded.__main__", "dropzone up", context.args, {})


def _local_firestore() -> dict[str, str]:
    return {
        "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{os.environ.get('DROPZONE_FIRESTORE_PORT', '8080')}",
        "GOOGLE_CLOUD_PROJECT": "dropzone-local",
    }


def _require_checkout() -> Path:
    folder = checkout()
    if folder is None:
        _exit("this command needs a checkout of Dropzone; run it in the folder of a checkout")
    if find_spec("functions_framework") is None:
        _exit(f"the packages of the server are not installed; run `make setup` in {folder}")
    return folder


def _execute(module: str, name: str, arguments: list[str], variables: Mapping[str, str]) -> NoReturn:
    """Replace this process with `main` of the module, whose help then shows `name` as the name of the command."""
    sys.stdout.flush()
    command = [
        sys.executable,
        "-c",
        f"import sys; from {module} import main; sys.exit(main(name={name!r}))",
        *arguments,
    ]
    os.execve(sys.executable, command, {**os.environ, **variables})  # noqa: S606 - it needs no shell


def _exit(sentence: str) -> NoReturn:
    typer.echo(f"error: {sentence}", err=True)
    raise typer.Exit(ExitCode.USAGE)
