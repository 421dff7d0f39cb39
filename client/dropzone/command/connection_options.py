"""The options `--url` and `--key`.

Without `--key`, the command uses the key of the local stack. It sends that key to loopback addresses only.
"""

import ipaddress
from typing import Annotated

import typer

from dropzone import AsyncClient, Unauthenticated
from dropzone.command import local_stack
from dropzone.command.exit_codes import print_error
from dropzone.connection import parse_url

Url = Annotated[str, typer.Option("--url", envvar="DROPZONE_URL", help="URL of the server.", show_default=True)]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="DROPZONE_KEY",
        help="API key. Default: the key of the local stack, if the server is on this machine.",
        show_default=False,
    ),
]


def connect(url: str, key: str) -> AsyncClient:
    """Return a client. Exits if the key is missing or the URL is invalid."""
    return AsyncClient(url, _find_key(url, key))


def _find_key(url: str, key: str) -> str:
    try:
        host = parse_url(url).host or ""
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error
    if not key and _is_loopback(host):
        key = local_stack.read_key() or ""
    if not key:
        raise typer.Exit(print_error(Unauthenticated(f"{url} requires an API key")))
    return key


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
