"""The watchdog sees to it that no process outlives the supervisor, however the supervisor ends.

It reads `+group` and `-group` lines from standard input, which only the supervisor holds open: the end
of that file is the end of the supervisor (kill -9 too, on Linux as on macOS), and then every process
group that is left gets SIGTERM, and SIGKILL 1.5 seconds later. It also inherits a lock on the data
folder, so that no new stack starts while processes of the old one still run.
It is run by its path, without site packages: it must be up in milliseconds.
"""

import os
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 1.5
END_SECONDS = 1.0


class Watchdog:
    """The watchdog as the supervisor holds it."""

    def __init__(self, lock: int | None) -> None:
        """Start the watchdog; it keeps `lock` open as long as it lives."""
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and this file, nothing given
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # whoever reads what we print need not wait for the watchdog
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[] if lock is None else [lock],
            bufsize=0,
        )

    def watch(self, group: int) -> None:
        """Make it end this process group after us."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Leave this process group alone: it has ended, and its number may be given to another."""
        self._tell(f"-{group}\n")

    def __enter__(self) -> "Watchdog":
        """To leave is to end the watchdog, and with it what it still watches."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the watchdog, and with it what it still watches."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(GRACE_SECONDS + END_SECONDS)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())


def kill_group(group: int, signal_number: int) -> bool:
    """Send a signal to a process group; return whether it was there (macOS: EPERM when only zombies are)."""
    try:
        os.killpg(group, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Remember process groups until standard input ends, then end them."""
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    deadline = time.monotonic() + GRACE_SECONDS
    left = [group for group in groups if kill_group(group, signal.SIGTERM)]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [group for group in left if kill_group(group, 0)]
    for group in left:
        kill_group(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
