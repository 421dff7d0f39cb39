"""Several instances of one small server: they share its port, and each lives for itself."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.infra.supervisor.run import Run
from tests.ports import free_port

Start = Callable[..., Run]

# Answers with its process id on the sockets that it is handed; who is not the first waits for a file named "go".
SERVER = """
import http.server, os, pathlib, signal, socket, sys, threading, time
descriptors, folder, slow = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3])
def stop(number, frame):
    time.sleep(slow)
    print("stopped well", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *_):
        pass
print("runs as", os.getpid())
try:
    (folder / "first").mkdir()
except FileExistsError:
    while not (folder / "go").exists():
        time.sleep(0.01)
for descriptor in descriptors.split(","):
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket = socket.socket(fileno=int(descriptor))
    threading.Thread(target=server.serve_forever).start()
print("serves")
"""


@pytest.fixture
def port() -> int:
    """The port that they share."""
    return free_port()


@pytest.fixture
def stack(tmp_path: Path, port: int) -> str:
    """Two instances unless TEST_COUNT says otherwise."""
    (tmp_path / "sharing.py").write_text(SERVER)
    (tmp_path / "go").touch()
    return f"""
variables = "TEST_"
[settings]
port = {port}
count = 2
slow = "0"
[[processes]]
name = "server"
command = ["{{python}}", "{tmp_path}/sharing.py", "{{sockets}}", "{tmp_path}", "{{slow}}"]
listens = "port"
count = "count"
ready = "http://{{own}}/"
"""


def answering(port: int) -> int:
    """Return the process that answers on a port."""
    with urlopen(f"http://127.0.0.1:{port}", timeout=20) as answer:
        return int(answer.read())


def test_each_of_them_answers_on_the_port(start: Start, stack: str, port: int) -> None:
    """Their lines bear their numbers."""
    run = start(stack)
    run.until("everything is ready")

    pids = {answering(port) for _ in range(40)}

    assert pids <= {run.pid("server.1 |"), run.pid("server.2 |")}
    assert len(re.findall(r"^server\.[12] \| runs as \d+$", run.text, re.MULTILINE)) == 2


def test_everything_is_ready_when_each_of_them_is(start: Start, stack: str, tmp_path: Path) -> None:
    """That another one serves is not enough."""
    (tmp_path / "go").unlink()
    run = start(stack)
    run.until("serves")
    run.until("runs as", 2)

    assert "ready" not in run.text
    (tmp_path / "go").touch()
    run.until("everything is ready")
    run.until("serves", 2)


def test_each_is_started_again_for_itself(start: Start, stack: str) -> None:
    """The other one goes on."""
    run = start(stack)
    run.until("everything is ready")
    first, second = run.pid("server.1 |"), run.pid("server.2 |")

    os.kill(first, signal.SIGKILL)
    run.until("server.1 is ready again")

    assert run.pid("server.1 |") != first
    assert run.pid("server.2 |") == second
    assert "server.1 was ended by SIGKILL; starting it again in" in run.text


def test_who_connects_while_it_is_down_is_answered_by_its_successor(start: Start, stack: str, port: int) -> None:
    """One alone bears no number."""
    run = start(stack, TEST_COUNT="1")
    run.until("everything is ready")
    killed = run.pid("server |")

    os.kill(killed, signal.SIGKILL)
    run.until("was ended by SIGKILL")
    answered = answering(port)

    run.until(f"server | runs as {answered}")
    assert answered != killed


def test_they_are_stopped_together(start: Start, stack: str) -> None:
    """Each takes most of the time that there is, and all are stopped well."""
    run = start(stack, TEST_COUNT="3", TEST_SLOW="0.7")
    run.until("everything is ready")

    seconds = run.end()

    assert seconds < 2
    assert run.text.count("stopped well") == 3
    assert run.wait() == 0


@pytest.mark.parametrize("count", ["0", "-1"])
def test_less_than_one_is_a_clear_message(start: Start, stack: str, count: str) -> None:
    """Nothing is started."""
    run = start(stack, TEST_COUNT=count)

    assert run.wait() == 1

    assert f"TEST_COUNT must be 1 or more, not {count}" in run.text


def test_only_what_listens_can_be_several(start: Start, stack: str) -> None:
    """A stack file without a port to share is wrong."""
    run = start(stack.replace('listens = "port"\n', ""))

    assert run.wait() == 1

    assert "'server' needs a port to share, and a number in 'count'" in run.text
