"""The watchdog ends all processes of the stack when the supervisor has ended, also after kill -9.

The watchdog reads lines from standard input: `+group` adds a process group and `-group` removes one. Only the
supervisor writes to this pipe, so the end of the input means that the supervisor has ended, on Linux and on macOS.
The watchdog then sends SIGTERM to every remaining process group, and SIGKILL 1.5 seconds later. The watchdog also
holds a lock on the data folder, so a new stack cannot start while processes of the old stack still run.

This file runs as a script without site packages, because the watchdog must start within milliseconds.
"""

import os
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 1.5
KILL_SECONDS = 1.0


class Watchdog:
    """The supervisor's handle on the watchdog process."""

    def __init__(self, lock: int | None) -> None:
        """Start the watchdog process, which holds `lock` until it ends."""
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and this file
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # a reader of the supervisor's output must not wait for the watchdog
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[] if lock is None else [lock],
            bufsize=0,
        )

    def watch(self, group: int) -> None:
        """Add a process group that the watchdog ends after the supervisor has ended."""
        self._send(f"+{group}\n")

    def unwatch(self, group: int) -> None:
        """Remove a process group that has ended, because the system may reuse its number."""
        self._send(f"-{group}\n")

    def __enter__(self) -> "Watchdog":
        return self

    def __exit__(self, *_: object) -> None:
        """End the watchdog and the process groups that it still watches."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(GRACE_SECONDS + KILL_SECONDS)

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())


def kill_group(group: int, signal_number: int) -> bool:
    """Send a signal to a process group; return whether the group has a running process.

    macOS raises EPERM if all processes of the group are zombies.
    """
    try:
        os.killpg(group, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Read process groups until standard input ends, then end these groups."""
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


if __name__ == "__main__":
    main()
