"""The supervisor as a process, with what it prints."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]
SECONDS = 20.0

# Listens, says so, and says which signals it gets. Arguments: name, port, seconds it takes to obey.
SERVER = """
import http.server, os, signal, sys, time
name, port, slow = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
def obey(number, frame):
    print(name, "got", signal.Signals(number).name)
    if number == signal.SIGTERM:
        time.sleep(slow)
        os._exit(0)
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, obey)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
print(name, "runs as", os.getpid())
server.serve_forever()
"""


def is_running(process: int) -> bool:
    """Tell whether a process is there and not just waiting to be collected."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


def until(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Wait until a condition holds, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Run:
    """One run of `python -m infra.embedded`."""

    def __init__(self, folder: Path, stack: str, *arguments: str, **environment: str) -> None:
        """Start it with this stack file."""
        file = folder / "stack.toml"
        file.write_text(stack)
        (folder / "server.py").write_text(SERVER)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "infra.embedded", "--stack", str(file), *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    @property
    def text(self) -> str:
        """Everything that it has printed."""
        return "\n".join(self.lines)

    def until(self, text: str, times: int = 1) -> None:
        """Wait until it has printed this."""
        ended = threading.Event()

        def printed() -> bool:
            if self.process.poll() is not None:
                self._reading.join()
                ended.set()
            return self.text.count(text) >= times or ended.is_set()

        until(printed, f"{text!r} was not printed:\n{self.text}")
        assert self.text.count(text) >= times, f"it ended without {text!r}:\n{self.text}"

    def pid(self, name: str) -> int:
        """Return the process that runs last under this name, once it has said so."""
        self.until(f"{name} runs as")
        return int([line for line in self.lines if f"{name} runs as" in line][-1].rsplit(" ", 1)[1])

    def end(self, number: int = signal.SIGINT) -> float:
        """Send a signal to its process group, as a terminal does; return the seconds until it has ended."""
        began = time.monotonic()
        os.killpg(self.process.pid, number)
        self.wait()
        return time.monotonic() - began

    def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""
        code = self.process.wait(SECONDS)
        self._reading.join(SECONDS)
        return code

    def close(self) -> None:
        """End it, if it has not ended yet."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
