"""The supervisor as a process, with its output."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60.0

# Prints its process id once it listens, and every signal it receives. Arguments: name, port, seconds until it exits.
SERVER = """
import http.server, os, signal, sys, time
name, port, delay = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
def say(*words):
    os.write(1, f"{' '.join(map(str, words))}\\n".encode())  # a signal cannot interrupt it, as it can `print`
def handle(number, frame):
    say(name, "got", signal.Signals(number).name)
    if number == signal.SIGTERM:
        time.sleep(delay)
        os._exit(0)
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, handle)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
say(name, "runs as", os.getpid())
server.serve_forever()
"""


def is_running(process: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], problem: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition holds; fail after a generous deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, problem
        time.sleep(0.01)


# Runs the supervisor. It kills no process that stops late, so that a test on a busy machine sees each process stop.
PATIENT = (
    "import sys; from infra.embedded import __main__, supervisor; "
    f"supervisor.STOP_SECONDS = {PATIENCE_SECONDS}; sys.exit(__main__.main())"
)


class Run:
    """One run of `python -m infra.embedded`."""

    def __init__(self, folder: Path, stack: str, *arguments: str, is_patient: bool = False, **environment: str) -> None:
        """Start the supervisor with the text of a stack file."""
        file = folder / "stack.toml"
        file.write_text(stack)
        (folder / "server.py").write_text(SERVER)
        program = ("-c", PATIENT) if is_patient else ("-m", "infra.embedded")
        self.process = subprocess.Popen(
            [sys.executable, *program, "--stack", str(file), *arguments],
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
        """Everything that the supervisor has printed."""
        return "\n".join(self.lines)

    def until(self, text: str, times: int = 1) -> None:
        """Wait until the supervisor has printed `text`, `times` times."""
        ended = threading.Event()

        def printed() -> bool:
            if self.process.poll() is not None:
                self._reading.join()
                ended.set()
            return self.text.count(text) >= times or ended.is_set()

        until(printed, f"{text!r} was not printed:\n{self.text}")
        assert self.text.count(text) >= times, f"the supervisor ended without {text!r}:\n{self.text}"

    def pid(self, name: str) -> int:
        """Wait until a server has printed its process id; return the last one."""
        self.until(f"{name} runs as")
        return int([line for line in self.lines if f"{name} runs as" in line][-1].rsplit(" ", 1)[1])

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal to the process group, as a terminal does, and wait; return the exit code."""
        os.killpg(self.process.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Wait until the supervisor has ended; return its exit code."""
        code = self.process.wait(PATIENCE_SECONDS)
        self._reading.join(PATIENCE_SECONDS)
        return code

    def close(self) -> None:
        """Kill the supervisor if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
