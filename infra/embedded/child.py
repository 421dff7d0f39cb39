"""One running command: in a session of its own, its lines forwarded, ended with all that it started.

A session of its own means that Ctrl-C on the terminal reaches the supervisor alone, which then stops
the others in order. The trap: a command may leave children behind that hold its port, so the whole
process group is ended when the command itself has.
"""

import asyncio
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from socket import socket
from urllib.parse import urlsplit

from infra.embedded.logs import Lines
from infra.embedded.watchdog import kill_group

REMEMBERED_LINES = 20
POLL_SECONDS = 0.02
ANSWER_SECONDS = 5.0
DRAIN_SECONDS = 0.2  # for lines that are still in the pipe when the process has ended


class Child:
    """A process that has been started. `ended` gives its exit code, after its last line was forwarded."""

    def __init__(self, name: str, process: Process, write: Callable[[str], None]) -> None:
        """Forward the lines of a process; `start` makes one."""
        self.name = name
        self.group = process.pid
        self.last_lines: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._process = process
        self._write = write
        self.ended = asyncio.create_task(self._run())

    @classmethod
    async def start(
        cls,
        name: str,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        write: Callable[[str], None],
        sockets: Iterable[socket] = (),
    ) -> "Child":
        """Start a command that inherits `sockets`; `write` gets every line that it prints."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
            pass_fds=[inherited.fileno() for inherited in sockets],
        )
        return cls(name, process, write)

    def signal(self, number: int) -> None:
        """Send a signal to the process and to what it started."""
        kill_group(self.group, number)

    async def become_ready(self, address: str) -> bool:
        """Wait until the address answers, or the process has ended; return which."""
        answering = asyncio.create_task(_answers(address))
        try:
            await asyncio.wait([answering, self.ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            answering.cancel()
        return not self.ended.done()

    def end(self) -> str:
        """Say how the process ended."""
        code = self.ended.result()
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"

    async def _run(self) -> int:
        forwarding = asyncio.create_task(self._forward())
        code = await self._process.wait()
        self.signal(signal.SIGKILL)
        await asyncio.wait([forwarding], timeout=DRAIN_SECONDS)
        forwarding.cancel()
        return code

    async def _forward(self) -> None:
        assert self._process.stdout is not None
        lines = Lines()
        chunk = b"-"
        while chunk:
            chunk = await self._process.stdout.read(65_536)
            for line in lines.feed(chunk):
                self.last_lines.append(line)
                self._write(line)


async def _answers(address: str) -> None:
    """Wait until `tcp://host:port` takes connections, or `http://host:port/path` answers with less than 500."""
    while True:
        if await _is_ready(address):
            return
        await asyncio.sleep(POLL_SECONDS)


async def _is_ready(address: str) -> bool:
    url = urlsplit(address)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            try:
                if url.scheme == "tcp":
                    return True
                writer.write(f"GET {url.path or '/'} HTTP/1.0\r\nhost: {url.netloc}\r\n\r\n".encode())
                return re.match(rb"HTTP/1\.[01] [2-4]", await reader.readline()) is not None
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
