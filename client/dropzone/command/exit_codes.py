"""The exit codes of the command, and the message of one sentence that it prints for an error."""

import asyncio
import errno
import os
import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any

import typer

from dropzone import (
    BadRequest,
    DropzoneError,
    Forbidden,
    RateLimited,
    RequestTimeout,
    Unauthenticated,
    Unavailable,
    UnexpectedResponse,
    Unreachable,
)
from dropzone.command import output
from dropzone.sign_in.oauth import SignInEnded


class ExitCode(IntEnum):
    """The exit codes of the command."""

    DONE = 0
    INCOMPLETE = 1
    USAGE = 2
    NO_SERVER = 3
    NO_ACCESS = 4
    INTERRUPTED = 130
    BROKEN_PIPE = 141


EXIT_CODES = (
    "Exit codes: 0 success; 1 the command failed, or a sample was rejected, failed or not found; "
    "2 wrong usage; 3 the server cannot be reached or is busy; 4 the key is missing or refused; 130 interrupted."
)

_NEVER_FROM_WRITE = frozenset({errno.ENOENT, errno.EMFILE, errno.ENFILE})
"""The error numbers that a write to an open file never has. A deleted current folder, for example, has ENOENT."""


def run(work: Coroutine[Any, Any, ExitCode]) -> None:
    """Run a command and exit with its exit code. If it raises an error, print one sentence."""
    try:
        code = asyncio.run(work)
        sys.stdout.flush()
    except DropzoneError as error:
        code = print_error(error)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of standard output, such as `head`, has exited
        _discard_output()
        code = ExitCode.BROKEN_PIPE
    except OSError as error:
        code = print_os_error(error)
    raise typer.Exit(code)


def print_error(error: DropzoneError, *, takes_key: bool = True) -> ExitCode:
    """Print an error and what the user can do. Return the exit code. `takes_key`: the command has the option --key."""
    match error:
        case SignInEnded():
            code, hint = ExitCode.NO_ACCESS, ""
        case Unauthenticated() | Forbidden():
            code, hint = ExitCode.NO_ACCESS, "pass a valid key with --key or DROPZONE_KEY" if takes_key else ""
        case Unreachable():
            code, hint = ExitCode.NO_SERVER, "set the server with --url, or start one here with `dropzone up`"
        case UnexpectedResponse():
            code, hint = ExitCode.NO_SERVER, "set the server with --url"
        case Unavailable() | RateLimited() | RequestTimeout():
            code, hint = ExitCode.NO_SERVER, "try again later"
        case BadRequest():
            code, hint = ExitCode.USAGE, ""
        case _:
            code, hint = ExitCode.INCOMPLETE, ""
    typer.echo(output.printable(f"error: {error}{hint and '; '}{hint}"), err=True)
    return code


def print_os_error(error: OSError) -> ExitCode:
    """Print which file cannot be read or written. Return the exit code."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        sentence = f"cannot access {output.printable(str(error.filename))}: {reason}"
    elif error.errno in _NEVER_FROM_WRITE:
        sentence = reason
    else:
        _discard_output()
        sentence = f"cannot write to standard output: {reason}"
    typer.echo(f"error: {sentence}", err=True)
    return ExitCode.INCOMPLETE


def _discard_output() -> None:
    """Redirect standard output to the null device, so that flushing it at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
