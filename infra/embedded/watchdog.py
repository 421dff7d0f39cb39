"""The watchdog stops all processes of the stack when the supervisor has stopped, even after kill -9.

The watchdog reads lines from standard input: `+group` adds a process group and `-group` removes one. Only the
supervisor writes to this pipe, so the end of the input means that the supervisor has stopped, on Linux and on macOS.
The watchdog then sends SIGTERM to every remaining process group, and SIGKILL 1.5 seconds later. The watchdog also holds
a lock on the data folder, so a new stack cannot start while processes of the old stack still run. If its argument names
a scratch folder, it removes this folder at the end.

The supervisor replaces a watchdog that has stopped. If both are killed together, `guarded` stops the processes.

This file runs as a script without site packages, because the watchdog must start within milliseconds.
"""

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing pathlib and shutil takes longer than everything else in this file
    from pathlib import Path

GRACE_SECONDS = 1.5
KILL_SECONDS = 1.0


class Watchdog:
    """The supervisor's handle on the watchdog process."""

    def __init__(self, lock: int | None, scratch_folder: "Path | None") -> None:
        """Start the watchdog process, which holds `lock` until it ends. Raises `OSError` if it cannot be started."""
        self._lock = lock
        self._scratch_folder = scratch_folder
        self._groups: set[int] = set()
        self._process = self._start()

    def watch(self, group: int) -> None:
        """Add a process group that the watchdog stops after the supervisor has ended."""
        self._groups.add(group)
        self._send(f"+{group}\n")

    def unwatch(self, group: int) -> None:
        """Remove a process group that has ended, because the system may reuse its number."""
        self._groups.discard(group)
        self._send(f"-{group}\n")

    def replace_ended(self) -> bool:
        """If the watchdog process has ended, start another one for the same groups. Return whether it had ended.

        Raises `OSError` if the process cannot be started. The next call tries again.
        """
        if self._process.poll() is None:
            return False
        self._close_input()
        self._process = self._start()
        self._send("".join(f"+{group}\n" for group in self._groups))
        return True

    def __enter__(self) -> "Watchdog":
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the watchdog and the process groups that it still watches."""
        self._close_input()
        try:
            self._process.wait(GRACE_SECONDS + KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _start(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(  # noqa: S603 - this interpreter and this file
            [sys.executable, "-I", "-S", __file__, *([] if self._scratch_folder is None else [self._scratch_folder])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # a reader of the supervisor's output must not wait for the watchdog
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[] if self._lock is None else [self._lock],
            bufsize=0,
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)  # a suspended watchdog must not block the supervisor
        return process

    def _send(self, lines: str) -> None:
        """Send lines. If the watchdog cannot receive them, stop it. `replace_ended` then sends all groups again."""
        assert self._process.stdin is not None
        data = lines.encode()
        try:
            is_sent = self._process.stdin.write(data) == len(data)
        except (OSError, ValueError):  # the pipe is broken, or closed because no process could be started
            is_sent = False
        if not is_sent:
            self._process.kill()

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()


def kill_group(group: int, signal_number: int) -> bool:
    """Send a signal to a process group. Return whether the group has a running process.

    macOS raises EPERM if all processes of the group are zombies.
    """
    try:
        os.killpg(group, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Read process groups until standard input ends, then stop these groups."""
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    deadline = time.monotonic() + GRACE_SECONDS
    remaining = [group for group in groups if kill_group(group, signal.SIGTERM)]
    while remaining and time.monotonic() < deadline:
        time.sleep(0.02)
        remaining = [group for group in remaining if kill_group(group, 0)]
    for group in remaining:
        kill_group(group, signal.SIGKILL)
    for folder in sys.argv[1:]:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
