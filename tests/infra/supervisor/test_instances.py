"""Several instances of a small server share its port, and each is restarted on its own."""

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.infra.supervisor.run import Run
from tests.ports import free_port

Start = Callable[..., Run]

# Responds with its process id on the inherited sockets. All but the first instance wait for a file named "go".
# On SIGTERM an instance waits until as many instances as its third argument says have received the signal.
SERVER = """
import http.server, os, pathlib, signal, socket, sys, threading, time
descriptors, folder, together = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
def stop(number, frame):
    (folder / f"{os.getpid()}.stopping").touch()
    while len(list(folder.glob("*.stopping"))) < together:
        time.sleep(0.01)
    print("stopped gracefully", flush=True)
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
    """The port that the instances share."""
    return free_port()


@pytest.fixture
def stack(tmp_path: Path, port: int) -> str:
    """A stack file of one server with two instances, or TEST_COUNT instances."""
    (tmp_path / "sharing.py").write_text(SERVER)
    (tmp_path / "go").touch()
    return f"""
environment_prefix = "TEST_"
[settings]
port = {port}
count = 2
together = "1"
[[processes]]
name = "server"
command = ["{{python}}", "{tmp_path}/sharing.py", "{{sockets}}", "{tmp_path}", "{{together}}"]
port_setting = "port"
count_setting = "count"
ready = "http://{{own_address}}/"
"""


def responding_process(port: int) -> int:
    """Return the process id that a request to a port returns."""
    with urlopen(f"http://127.0.0.1:{port}", timeout=60) as response:
        return int(response.read())


def test_each_instance_responds_on_the_port(start: Start, stack: str, port: int) -> None:
    """The lines of each start with its number."""
    run = start(stack)
    run.until("everything is ready")

    pids = {responding_process(port) for _ in range(40)}

    assert pids <= {run.pid("server.1 |"), run.pid("server.2 |")}
    assert len(re.findall(r"^server\.[12] \| runs as \d+$", run.text, re.MULTILINE)) == 2


def test_everything_is_ready_once_each_instance_is_ready(start: Start, stack: str, tmp_path: Path) -> None:
    """One ready instance is not enough."""
    (tmp_path / "go").unlink()
    run = start(stack)
    run.until("serves")
    run.until("runs as", 2)

    assert "ready" not in run.text
    (tmp_path / "go").touch()
    run.until("everything is ready")
    run.until("serves", 2)


def test_each_instance_is_restarted_on_its_own(start: Start, stack: str) -> None:
    """The other instance continues."""
    run = start(stack)
    run.until("everything is ready")
    first, second = run.pid("server.1 |"), run.pid("server.2 |")

    os.kill(first, signal.SIGKILL)
    run.until("server.1 is ready again")

    assert run.pid("server.1 |") != first
    assert run.pid("server.2 |") == second
    assert "server.1 was stopped by SIGKILL; restarting" in run.text


def test_a_connection_to_a_killed_instance_is_accepted_by_the_restarted_one(
    start: Start, stack: str, port: int
) -> None:
    """The name of a single instance has no number."""
    run = start(stack, TEST_COUNT="1")
    run.until("everything is ready")
    killed = run.pid("server |")

    os.kill(killed, signal.SIGKILL)
    run.until("was stopped by SIGKILL")
    responding = responding_process(port)

    run.until(f"server | runs as {responding}")
    assert responding != killed


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)])
@pytest.mark.parametrize("count", ["1", "2"])
def test_no_other_program_can_listen_on_the_port(
    start: Start, stack: str, port: int, options: tuple[int, ...], count: str
) -> None:
    """A program that listened between the death of the function and its restart acknowledged its events."""
    run = start(stack, TEST_COUNT=count)
    run.until("everything is ready")

    with socket.socket() as stranger:
        for option in options:
            stranger.setsockopt(socket.SOL_SOCKET, option, 1)
        for number in range(1, int(count) + 1):
            os.kill(run.pid(f"server{f'.{number}' if count != '1' else ''} |"), signal.SIGKILL)
        run.until("was stopped by SIGKILL")
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))


def test_all_instances_receive_sigterm_before_one_has_stopped(start: Start, stack: str) -> None:
    """All receive SIGTERM before the first one has stopped."""
    run = start(stack, is_patient=True, TEST_COUNT="3", TEST_TOGETHER="3")
    run.until("everything is ready")

    code = run.stop()

    assert code == 0
    assert run.text.count("stopped gracefully") == 3


@pytest.mark.parametrize(
    ("count", "problem"),
    [("0", "must be 1 or more, got 0"), ("-1", "must be 1 or more, got -1"), ("65", "must be 64 or less, got 65")],
)
def test_an_impossible_count_is_a_clear_error(start: Start, stack: str, count: str, problem: str) -> None:
    """Nothing is started. Hundreds of instances would use all memory of the machine."""
    run = start(stack, TEST_COUNT=count)

    assert run.wait() == 1

    assert f"TEST_COUNT {problem}" in run.text


def test_a_count_without_a_port_is_a_clear_error(start: Start, stack: str) -> None:
    """Instances need a port to share, and the supervisor opens it."""
    run = start(stack.replace('port_setting = "port"\n', ""))

    assert run.wait() == 1

    assert "'server' uses {sockets}: add a port_setting" in run.text
