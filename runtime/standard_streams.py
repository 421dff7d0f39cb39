"""The standard streams of a process: they can be closed at its start, and the reader of its output can exit."""

import os
import select
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO


def open_closed() -> None:
    """Open `/dev/null` as each standard stream that is closed, for example after `>&-`.

    Python has None instead of such a stream. Otherwise, a lock of the data folder could get the number of a stream. The
    watchdog would then not inherit this lock, because it has a stream of its own with this number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open until the process exits


def use_utf_8(stream: TextIO) -> None:
    """Let a standard stream contain UTF-8, also if the locale has another encoding.

    Input that is not UTF-8 is read as lone surrogates, so that its reader can say where it is.
    """
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape" if stream.readable() else "strict")


def has_no_reader() -> bool:
    """Return whether standard output is a pipe or socket that nothing reads any more."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # reports errors only
    return bool(output.poll(0))


def discard_output() -> None:
    """Let standard output be `/dev/null`. Python could otherwise not write the rest of its buffer, and would say so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
