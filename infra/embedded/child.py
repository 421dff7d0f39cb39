"""A child process of the supervisor. The supervisor forwards the output of the child line by line.

Each child runs in its own session, so Ctrl-C on the terminal reaches only the supervisor. The supervisor then
stops the children in order.

Note: when a command exits, its subprocesses may still run and use its port. `Child` therefore kills the whole
process group of the command.
"""

import asyncio
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from infra.embedded.logs import LineSplitter
from infra.embedded.watchdog import kill_group

MAX_LAST_LINES = 20
DRAIN_SECONDS = 0.2  # time to read the lines that are left in the pipe after the process has exited


class Child:
    """A started process. `exited` is a task that returns the exit code after the last line is forwarded."""

    def __init__(self, name: str, process: Process, write: Callable[[str], None]) -> None:
        """Pass each line that `process` prints to `write`. Use `start` to create a child."""
        self.name = name
        self.group = process.pid
        self.last_lines: deque[str] = deque(maxlen=MAX_LAST_LINES)
        self._process = process
        self._write = write
        self.exited = asyncio.create_task(self._run())

    @classmethod
    async def start(
        cls,
        name: str,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        write: Callable[[str], None],
        descriptors: Iterable[int] = (),
    ) -> "Child":
        """Start a command that inherits `descriptors`. `write` is called with every line of its output."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
            pass_fds=list(descriptors),
        )
        return cls(name, process, write)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process and its descendants."""
        kill_group(self.group, number)

    async def wait_for(self, condition: Coroutine[Any, Any, None]) -> bool:
        """Wait until `condition` returns or the process has exited. Return whether the process still runs."""
        waiting = asyncio.create_task(condition)
        try:
            await asyncio.wait([waiting, self.exited], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return not self.exited.done()

    def describe_exit(self) -> str:
        """Return how the process exited, for example `exited with code 1`."""
        code = self.exited.result()
        if code >= 0:
            return f"exited with code {code}"
        return f"was stopped by {signal_name(-code)}"

    async def _run(self) -> int:
        forwarding = asyncio.create_task(self._forward_lines())
        code = await self._process.wait()
        self.send_signal(signal.SIGKILL)
        await asyncio.wait([forwarding], timeout=DRAIN_SECONDS)
        forwarding.cancel()
        return code

    async def _forward_lines(self) -> None:
        assert self._process.stdout is not None
        lines = LineSplitter()
        chunk = b"-"
        while chunk:
            chunk = await self._process.stdout.read(65_536)
            for line in lines.feed(chunk):
                self.last_lines.append(line)
                self._write(line)


def signal_name(number: int) -> str:
    """Return a name such as `SIGKILL`. Most real-time signals have only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
