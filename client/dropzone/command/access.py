"""Where the server is, which key opens it, and what the command says when it cannot be used.

Inside a checkout nothing needs to be given: the stack on this machine keeps its key in a file. That key is for
this machine alone, so it is sent to loopback addresses and nowhere else.
"""

import asyncio
import ipaddress
import os
import sys
from collections.abc import Coroutine, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import dropzone
from dropzone import (
    DEFAULT_URL,
    AsyncClient,
    DropzoneError,
    Forbidden,
    RateLimited,
    RequestTimeout,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from dropzone.connection import address

_DATA = ".dropzone"
_KEY_FILE = "api-key"


class ExitCode(IntEnum):
    """What the shell is told."""

    DONE = 0
    NOT_ALL = 1
    USAGE = 2
    NO_SERVER = 3
    NO_ACCESS = 4
    INTERRUPTED = 130
    BROKEN_PIPE = 141


EXIT_CODES = (
    "Exit codes: 0 all is well; 1 something was rejected, failed, or is not there; 2 the command is wrong; "
    "3 the server cannot be reached; 4 the key is missing or not good for this; 130 interrupted."
)

Url = Annotated[str, typer.Option("--url", envvar="DROPZONE_URL", help="Where Dropzone is.", show_default=True)]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="DROPZONE_KEY",
        help="The API key; unless given, that of the stack on this machine.",
        show_default=False,
    ),
]


def connect(url: str, key: str) -> AsyncClient:
    """Return a client. Exits where there is no key, or where the address is none."""
    return AsyncClient(url, find_key(url, key))


def find_key(url: str, key: str) -> str:
    """Return the key that is given, or else that of the stack on this machine. Exits where there is none."""
    try:
        host = address(url).host
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error
    if key:
        return key
    if _is_loopback(host or ""):
        for file in _key_files():
            try:
                return file.read_text().strip()
            except OSError:
                continue
    raise typer.Exit(fail(Unauthenticated(f"there is no key for {url}")))


def run(work: Coroutine[Any, Any, ExitCode]) -> None:
    """Run a command to its end and exit; whatever goes wrong is said in one sentence."""
    try:
        code = asyncio.run(work)
        sys.stdout.flush()
    except DropzoneError as error:
        code = fail(error)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:  # who read our output has had enough, as `head` does
        _print_no_more()
        code = ExitCode.BROKEN_PIPE
    except OSError as error:
        _print_no_more()
        typer.echo(f"dropzone: {error.filename or 'what is printed'} cannot be written: {error.strerror}", err=True)
        code = ExitCode.NOT_ALL
    raise typer.Exit(code)


def fail(error: DropzoneError) -> ExitCode:
    """Say what is wrong and what to do; return the exit code for it."""
    match error:
        case Unauthenticated() | Forbidden():
            code, hint = ExitCode.NO_ACCESS, "give a good key by --key or DROPZONE_KEY"
        case Unreachable():
            code, hint = ExitCode.NO_SERVER, "say where Dropzone is by --url, or start it here by `dropzone up`"
        case UnexpectedAnswer():
            code, hint = ExitCode.NO_SERVER, "say where Dropzone is by --url"
        case Unavailable() | RateLimited() | RequestTimeout():
            code, hint = ExitCode.NO_SERVER, "try again later"
        case _:
            code, hint = ExitCode.NOT_ALL, ""
    typer.echo(f"dropzone: {error}{hint and '; '}{hint}", err=True)
    return code


def _print_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def checkout() -> Path | None:
    """Return the checkout that this client was installed from, or that is here; None where there is none."""
    for folder in (Path(dropzone.__file__).parents[1], Path.cwd()):
        if (folder / "infra/embedded/stack.toml").is_file():
            return folder
    return None


def _key_files() -> Iterator[Path]:
    if data := os.environ.get("DROPZONE_DATA_DIR"):
        yield Path(data) / _KEY_FILE
    for folder in (Path.cwd(), *Path.cwd().parents):
        yield folder / _DATA / _KEY_FILE
    if (root := checkout()) is not None:
        yield root / _DATA / _KEY_FILE


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


__all__ = ["DEFAULT_URL", "EXIT_CODES", "ExitCode", "Key", "Url", "checkout", "connect", "fail", "find_key", "run"]
