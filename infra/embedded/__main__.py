"""Run the processes of a stack file on this machine."""

import argparse
import asyncio
import contextlib
import os
import resource
import sys
from functools import partial
from pathlib import Path

from infra.embedded import jemalloc
from infra.embedded.instances import open_instances
from infra.embedded.logs import JsonStyle, Logs, Style, TextStyle
from infra.embedded.output import Output
from infra.embedded.preflight import PreflightError, prepare
from infra.embedded.stack_file import reader
from infra.embedded.stack_file.stack import StackError
from infra.embedded.supervisor import Supervisor
from infra.embedded.watchdog import Watchdog
from runtime import standard_streams

MAX_OPEN_FILES = 10_240


def main(name: str = "python -m infra.embedded") -> int:
    """Read the stack file, run the preflight checks and the supervisor, and return the exit code.

    `name` is the name of the command in its help.
    """
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    parser.add_argument(
        "--stack", type=Path, default=Path(__file__).with_name("stack.toml"), help="stack file (default: %(default)s)"
    )
    parser.add_argument(
        "--greet", action="store_true", help="run the greeting command of the stack file when all processes are ready"
    )
    standard_streams.open_closed()
    arguments = parser.parse_args()
    os.umask(0o077)  # only this user can read the files of the processes
    _raise_open_file_limit()
    allocator: dict[str, str] = {}
    warning = ""
    try:
        allocator = jemalloc.environment_variables(os.environ)
    except OSError as error:
        warning = f"jemalloc is installed but not used, because Python does not start with it: {error}"
    try:
        stack = reader.read(arguments.stack, os.environ | allocator)
        lock = prepare(stack)
        instances = open_instances(stack)
    except (StackError, PreflightError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    names = ["stack", *(instance.name for instance in instances)]
    style: Style = JsonStyle()
    if stack.log_format == "text":
        style = TextStyle(names, is_colored=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    _wait_without_threads()
    output = Output(sys.stdout.fileno(), notice=partial(style.line, "stack", is_error=True))
    logs = Logs(output, names, style)
    if warning:
        logs.write("stack", warning, is_error=True)
    with Watchdog(lock, stack.scratch_folder) as watchdog:
        return asyncio.run(Supervisor(stack, instances, logs, watchdog, lock).run(greet=arguments.greet))


def _wait_without_threads() -> None:
    """Let Python 3.11 wait for child processes without threads, if the kernel has pidfd, as later versions do.

    If too little memory is left to run a new thread, the main thread waits for its start forever. Nothing would then
    restart the processes.
    """
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            os.close(os.pidfd_open(os.getpid()))
            asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


def _raise_open_file_limit() -> None:
    """Allow a few thousand connections to each process. The default limit is 1,024 on Linux and 256 on macOS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


if __name__ == "__main__":
    sys.exit(main())
