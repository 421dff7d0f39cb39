"""`dropzone keys` and `dropzone up`: the tools of who runs Dropzone, handed over to as processes.

They are not part of this client: they belong to a checkout, and with `up` everything in it runs on this machine.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import typer

from dropzone.command.access import ExitCode, checkout

PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

_LOCAL_FIRESTORE = {
    "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{os.environ.get('DROPZONE_FIRESTORE_PORT', '8080')}",
    "GOOGLE_CLOUD_PROJECT": "dropzone-local",
}
_CLOUD = ("FIRESTORE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS")


def keys(context: typer.Context) -> None:
    """Make, list and revoke API keys: create, list, revoke. For who runs Dropzone.

    Works on the Firestore that FIRESTORE_EMULATOR_HOST or Google's credentials name, else on that of this machine.
    """
    named = any(name in os.environ for name in _CLOUD)
    folder = _folder()
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    _become("graphql_api.auth.keys", context.args, ({} if named else _LOCAL_FIRESTORE) | {"PYTHONPATH": path})


def up(context: typer.Context) -> None:
    """Run Dropzone on this machine until Ctrl-C: API, function and a durable Firestore."""
    os.chdir(_folder())
    _become("infra.embedded", context.args, {})


def _folder() -> Path:
    folder = checkout()
    if folder is None:
        _end("this is for a checkout of Dropzone: run it in one")
    if find_spec("functions_framework") is None:
        _end(f"what the server needs is not installed: `make setup` in {folder}, or pip install '.[server]' there")
    return folder


def _become(module: str, arguments: list[str], environment: dict[str, str]) -> None:
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], os.environ | environment)  # noqa: S606 - no shell is wanted


def _end(sentence: str) -> NoReturn:
    typer.echo(f"dropzone: {sentence}", err=True)
    raise typer.Exit(ExitCode.USAGE)
