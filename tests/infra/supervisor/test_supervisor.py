"""The supervisor with small servers: start, restart, stop."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.supervisor.run import ROOT, Run, is_running, until
from tests.ports import free_port

Start = Callable[..., Run]


def test_processes_start_in_order_and_their_lines_bear_their_names(start: Start, two_servers: str) -> None:
    """The second starts when the first is ready; on a pipe nothing is coloured."""
    run = start(two_servers)

    run.until("everything is ready")
    run.until("second runs as")

    assert run.text.index("first runs as") < run.text.index("second runs as")
    assert re.search(r"^first  \| first runs as \d+$", run.text, re.MULTILINE)
    assert "\x1b" not in run.text


def test_a_preparation_ends_before_what_comes_after_it(start: Start, tmp_path: Path) -> None:
    """It sees settings, the environment of all and its own."""
    run = start(
        f"""
variables = "TEST_"
[settings]
colour = "blue"
[environment]
ALL = "all {{colour}}"
[[processes]]
name = "prepare"
command = ["{{python}}", "-c", "import os; print(os.environ['ALL'], os.environ['OWN'], os.environ['TEST_COLOUR'])"]
environment = {{ OWN = "own" }}
once = true
[[processes]]
name = "server"
command = ["{{python}}", "{tmp_path}/server.py", "server", "{free_port()}", "0"]
after = ["prepare"]
""",
        TEST_COLOUR="green",
    )

    run.until("server runs as")

    assert run.text.index("all green own green") < run.text.index("server runs as")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_reverse_order(start: Start, two_servers: str, number: int) -> None:
    """Each child gets SIGTERM once and not the terminal's signal; the exit code is 0."""
    run = start(two_servers)
    run.until("everything is ready")

    seconds = run.end(number)

    assert seconds < 2
    assert run.wait() == 0
    assert re.findall(r"(\w+) got (\w+)", run.text) == [("second", "SIGTERM"), ("first", "SIGTERM")]


def test_who_does_not_obey_is_killed_and_all_is_over_in_two_seconds(start: Start, two_servers: str) -> None:
    """The others still get their time to stop well."""
    run = start(two_servers, TEST_SLOW="30")
    run.until("everything is ready")
    second = run.pid("second")

    seconds = run.end()

    assert seconds < 2
    assert run.wait() == 0
    assert "second did not stop in time and is killed" in run.text
    assert "first got SIGTERM" in run.text
    assert not is_running(second)


def test_what_dies_is_started_again(start: Start, two_servers: str) -> None:
    """As often as it dies, and it is said how it ended."""
    run = start(two_servers)
    run.until("everything is ready")

    for times in (1, 2):
        os.kill(run.pid("first"), signal.SIGKILL)
        run.until("first is ready again", times)

    assert run.text.count("first was ended by SIGKILL; starting it again in") == 2
    assert run.text.count("second runs as") == 1


def test_who_dies_at_its_start_ends_the_stack_with_its_last_lines(start: Start, two_servers: str) -> None:
    """What had started is stopped; the exit code is 1."""
    run = start(two_servers.replace('"{slow}"', '"x"'))

    assert run.wait() == 1

    assert "second ended with exit code 1 when it was started; its last lines:" in run.text
    assert "could not convert string to float: 'x'" in run.text.split("its last lines")[1]
    assert "first got SIGTERM" in run.text


def test_who_does_not_become_ready_ends_the_stack(start: Start, two_servers: str) -> None:
    """After the time that the stack file gives, and with the address that did not answer."""
    stack = two_servers.replace("tcp://{host}:{second_port}", "tcp://{host}:1").replace("10.0", "1.0")
    run = start(stack)

    assert run.wait() == 1

    assert "second is not ready: waited 1 s for tcp://127.0.0.1:1; its last lines:" in run.text


def test_a_command_that_does_not_exist_is_a_clear_message(start: Start) -> None:
    """No traceback."""
    run = start('[[processes]]\nname = "x"\ncommand = ["/nowhere/at/all"]')

    assert run.wait() == 1

    assert "x cannot be started: " in run.text
    assert "/nowhere/at/all" in run.text
    assert "Traceback" not in run.text


def test_a_port_in_use_is_a_clear_message(start: Start, two_servers: str) -> None:
    """With the port and the setting to change, before anything is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        run = start(two_servers, TEST_SECOND_PORT=str(port))

        assert run.wait() == 1

    assert f"port {port} on 127.0.0.1 is in use: set TEST_SECOND_PORT to a free one for second" in run.text
    assert "Traceback" not in run.text
    assert "runs as" not in run.text


def test_a_host_that_is_not_ours_is_a_clear_message(start: Start, two_servers: str) -> None:
    """It is not told as a port in use."""
    run = start(two_servers, TEST_HOST="192.0.2.1")

    assert run.wait() == 1

    assert "cannot listen on 192.0.2.1 (TEST_HOST): " in run.text
    assert "Traceback" not in run.text


def test_two_stacks_never_share_a_data_folder(start: Start, two_servers: str) -> None:
    """The second is told who holds it."""
    run = start(two_servers)
    run.until("everything is ready")

    second = start(two_servers, TEST_FIRST_PORT=str(free_port()), TEST_SECOND_PORT=str(free_port()))

    assert second.wait() == 1
    assert f"another stack (process {run.process.pid}) runs on the data folder" in second.text
    assert "TEST_DATA" in second.text


def test_nothing_outlives_a_supervisor_that_is_killed(start: Start, two_servers: str) -> None:
    """Not even who is slow to obey; and the next stack starts at once, when the old one is gone."""
    run = start(two_servers, TEST_SLOW="30")
    run.until("everything is ready")
    children = [run.pid("first"), run.pid("second")]

    run.process.kill()
    again = start(two_servers)
    again.until("everything is ready")

    assert not any(map(is_running, children))


def test_children_of_a_process_end_with_it(start: Start, tmp_path: Path) -> None:
    """A child of a child that holds the port would keep it from being started again."""
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('child runs as', child.pid)\ntime.sleep(60)\n"
    )
    run = start(f'[[processes]]\nname = "parent"\ncommand = ["{{python}}", "{tmp_path}/parent.py"]')
    run.until("child runs as")
    child = run.pid("child")

    run.end()

    until(lambda: not is_running(child), "the child of the child is still there", 2)


def test_the_greeting_comes_last_and_as_it_is(start: Start, two_servers: str) -> None:
    """If it fails that is said, and the stack goes on."""
    greeting = '[greeting]\ncommand = ["{python}", "-c", "print(\'hello\'); raise SystemExit(3)"]\n'
    run = start(two_servers + greeting, "--greet")

    run.until("the greeting ended with exit code 3; the stack goes on")

    assert run.text.index("\nhello\n") > run.text.index("everything is ready")
    assert is_running(run.pid("second"))


def test_without_being_asked_there_is_no_greeting(start: Start, two_servers: str) -> None:
    """It is for people."""
    greeting = '[greeting]\ncommand = ["{python}", "-c", "print(\'hello\')"]\n'
    run = start(two_servers + greeting)
    run.until("everything is ready")

    run.end()

    assert "hello" not in run.lines


def test_it_stops_when_nobody_reads_its_output_any_more(tmp_path: Path, start: Start, two_servers: str) -> None:
    """As with `| head`: no endless stack without a window."""
    start(two_servers).end(signal.SIGKILL)
    command = f"{sys.executable} -m infra.embedded --stack {tmp_path}/stack.toml | head -n 1"

    began = time.monotonic()
    done = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)

    assert time.monotonic() - began < 10
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("stack", "variables", "message"),
    [
        ("[settings]\nport = 1", {"TEST_PORT": "x"}, "TEST_PORT must be a whole number, not 'x'"),
        ("[settings\n", {}, "stack.toml: "),
        ("[[process]]\n", {}, "unknown field `process`"),
        ('[[processes]]\nname = "a"\ncommand = ["{nothing}"]', {}, "no setting is called 'nothing'"),
        ('[[processes]]\nname = "a"\ncommand = ["x"]\nafter = ["b"]', {}, "to start after 'b'"),
        ('[[processes]]\nname = "a"\ncommand = ["x"]\nlistens = "b"', {}, "listens on 'b'"),
        (
            '[settings]\na = 7\nb = 7\n[[processes]]\nname = "a"\ncommand = ["x"]\nlistens = "a"\n'
            '[[processes]]\nname = "b"\ncommand = ["x"]\nlistens = "b"',
            {},
            "TEST_B and TEST_A are both 7",
        ),
        (
            '[settings]\na = 70000\n[[processes]]\nname = "a"\ncommand = ["x"]\nlistens = "a"',
            {},
            "TEST_A must be a port from 1 to 65535",
        ),
    ],
)
def test_a_wrong_stack_file_is_a_clear_message(
    start: Start, stack: str, variables: dict[str, str], message: str
) -> None:
    """With what is wrong and where; nothing is started."""
    run = start(f'variables = "TEST_"\n{stack}', **variables)

    assert run.wait() == 1

    assert message in run.text
    assert "Traceback" not in run.text
