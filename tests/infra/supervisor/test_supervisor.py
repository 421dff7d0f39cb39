"""The supervisor starts, restarts and stops small servers."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded.child import signal_name
from infra.embedded.supervisor import KILL_SECONDS, STOP_SECONDS
from tests.infra.supervisor.run import PATIENCE_SECONDS, ROOT, Run, is_running, until
from tests.ports import free_port

Start = Callable[..., Run]


def test_processes_start_in_order_and_their_lines_start_with_their_names(start: Start, two_servers: str) -> None:
    """The second starts when the first is ready. Lines on a pipe have no color."""
    run = start(two_servers)

    run.until("everything is ready")
    run.until("second runs as")

    assert run.text.index("first runs as") < run.text.index("second runs as")
    assert re.search(r"^first  \| first runs as \d+$", run.text, re.MULTILINE)
    assert "\x1b" not in run.text


def test_a_process_that_runs_once_exits_before_those_after_it_start(start: Start, tmp_path: Path) -> None:
    """Its environment has the settings, the variables of all processes and its own."""
    run = start(
        f"""
environment_prefix = "TEST_"
[settings]
color = "blue"
[environment]
ALL = "all {{color}}"
[[processes]]
name = "prepare"
command = ["{{python}}", "-c", "import os; print(os.environ['ALL'], os.environ['OWN'], os.environ['TEST_COLOR'])"]
environment = {{ OWN = "own" }}
once = true
[[processes]]
name = "server"
command = ["{{python}}", "{tmp_path}/server.py", "server", "{free_port()}", "0"]
after = ["prepare"]
""",
        TEST_COLOR="green",
    )

    run.until("server runs as")

    assert run.text.index("all green own green") < run.text.index("server runs as")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_reverse_order(start: Start, two_servers: str, number: int) -> None:
    """Each process gets SIGTERM once, but not the signal of the terminal. The exit code is 0."""
    run = start(two_servers, is_patient=True)
    run.until("everything is ready")

    code = run.stop(number)

    assert code == 0
    assert re.findall(r"(\w+) got (\w+)", run.text) == [("second", "SIGTERM"), ("first", "SIGTERM")]


def test_a_process_that_ignores_sigterm_is_killed(start: Start, two_servers: str) -> None:
    """The other processes still get SIGTERM. Stopping takes less than the ten seconds that Docker waits."""
    run = start(two_servers, TEST_SLOW="30")
    run.until("everything is ready")
    second = run.pid("second")

    code = run.stop()

    assert code == 0
    assert STOP_SECONDS + KILL_SECONDS < 9
    assert "second did not stop in time and is killed" in run.text
    assert "first got SIGTERM" in run.text
    assert not is_running(second)


def test_a_process_that_exits_is_restarted(start: Start, two_servers: str) -> None:
    """This happens every time, and the log says how the process ended."""
    run = start(two_servers)
    run.until("everything is ready")

    unnamed = signal.SIGRTMIN + 1 if hasattr(signal, "SIGRTMIN") else signal.SIGKILL
    for times, number in enumerate((signal.SIGKILL, unnamed), 1):
        os.kill(run.pid("first"), number)
        run.until("first is ready again", times)

    assert re.findall(r"first was stopped by (.+); restarting", run.text) == ["SIGKILL", signal_name(unnamed)]
    assert run.text.count("second runs as") == 1


def test_a_process_that_exits_during_its_start_ends_the_stack(start: Start, two_servers: str) -> None:
    """The error shows its last lines, the other processes are stopped, and the exit code is 1."""
    run = start(two_servers.replace('"{slow}"', '"x"'), is_patient=True)

    assert run.wait() == 1

    assert "second exited with code 1 during its start; its last lines:" in run.text
    assert "could not convert string to float: 'x'" in run.text.split("its last lines")[1]
    assert "first got SIGTERM" in run.text


def test_a_process_that_does_not_become_ready_ends_the_stack(start: Start) -> None:
    """The error names the time limit of the stack file and the address that is not ready."""
    run = start(
        'max_start_seconds = 1.0\n[[processes]]\nname = "late"\ncommand = ["/bin/sleep", "60"]\n'
        'ready = "tcp://127.0.0.1:1"\n'
    )

    assert run.wait() == 1

    assert "late is not ready: waited 1 s for tcp://127.0.0.1:1; it printed nothing" in run.text


def test_a_missing_command_is_a_clear_error(start: Start) -> None:
    """The error names the command and has no traceback."""
    run = start('[[processes]]\nname = "x"\ncommand = ["/nowhere/at/all"]')

    assert run.wait() == 1

    assert "x cannot be started: " in run.text
    assert "/nowhere/at/all" in run.text
    assert "Traceback" not in run.text


def test_a_port_in_use_is_a_clear_error(start: Start, two_servers: str) -> None:
    """The error names the port and the setting to change, before anything is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        run = start(two_servers, TEST_SECOND_PORT=str(port))

        assert run.wait() == 1

    assert f"port {port} on 127.0.0.1 is in use: set TEST_SECOND_PORT to a free port for second" in run.text
    assert "Traceback" not in run.text
    assert "runs as" not in run.text


@pytest.mark.parametrize("host", ["192.0.2.1", "192.168..1", f"{'a' * 64}.example"])
def test_a_host_that_is_not_of_this_machine_is_a_clear_error(start: Start, two_servers: str, host: str) -> None:
    """An address of another machine, or a name that cannot exist. The error does not call it a port in use."""
    run = start(two_servers, TEST_HOST=host)

    assert run.wait() == 1

    assert f"cannot listen on {host} (TEST_HOST): " in run.text
    assert "Traceback" not in run.text


def test_two_stacks_never_share_a_data_folder(start: Start, two_servers: str) -> None:
    """The error of the second stack names the process that uses the folder."""
    run = start(two_servers)
    run.until("everything is ready")

    second = start(two_servers, TEST_FIRST_PORT=str(free_port()), TEST_SECOND_PORT=str(free_port()))

    assert second.wait() == 1
    assert f"another stack (process {run.process.pid}) uses the data folder" in second.text
    assert "or set TEST_DATA and the ports" in second.text


def test_all_processes_end_with_a_killed_supervisor(start: Start, two_servers: str) -> None:
    """That includes one that ignores SIGTERM. The next stack waits for their end and then starts."""
    run = start(two_servers, TEST_SLOW="30")
    run.until("everything is ready")
    children = [run.pid("first"), run.pid("second")]

    run.process.kill()
    again = start(two_servers)
    again.until("everything is ready")

    assert not any(map(is_running, children))


def test_descendants_of_a_process_end_with_it(start: Start, tmp_path: Path) -> None:
    """A descendant that holds the port would prevent a restart."""
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('child runs as', child.pid)\ntime.sleep(60)\n"
    )
    run = start(f'[[processes]]\nname = "parent"\ncommand = ["{{python}}", "{tmp_path}/parent.py"]')
    run.until("child runs as")
    child = run.pid("child")

    run.stop()

    until(lambda: not is_running(child), "the descendant still runs")


def test_the_stack_stops_when_the_reader_of_its_output_is_gone(tmp_path: Path, start: Start, two_servers: str) -> None:
    """This happens with `| head`, for example."""
    start(two_servers).stop(signal.SIGKILL)
    command = f"{sys.executable} -m infra.embedded --stack {tmp_path}/stack.toml | head -n 1"

    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )

    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_the_stack_runs_and_stops_while_its_output_is_not_read(tmp_path: Path, start: Start, two_servers: str) -> None:
    """A terminal after Ctrl-S blocked the supervisor and every process that logs, and Ctrl-C did not stop them."""
    (tmp_path / "talker.py").write_text("print('x' * 1_000_000); open('talked', 'w'); input()")
    talker = f'[[processes]]\nname = "talker"\ncommand = ["/bin/sh", "-c", "cd {tmp_path} && {{python}} talker.py"]\n'
    start(two_servers + talker).stop(signal.SIGKILL)
    (tmp_path / "talked").unlink(missing_ok=True)
    command = [sys.executable, "-m", "infra.embedded", "--stack", str(tmp_path / "stack.toml")]

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as paused:
        until((tmp_path / "talked").exists, "a process that logs is blocked")
        paused.send_signal(signal.SIGINT)
        code = paused.wait(PATIENCE_SECONDS)

    assert code == 0


def test_a_full_disk_of_the_log_does_not_stop_the_processes(tmp_path: Path) -> None:
    """The supervisor stopped everything. A log says how many lines are missing when its disk has space again."""
    (tmp_path / "stack.toml").write_text(
        """
[[processes]]
name = "counter"
command = ["{python}", "-c", "import itertools, time\\nfor n in itertools.count(): print('line', n); time.sleep(0.01)"]
"""
    )
    log, max_bytes = tmp_path / "log", 2_000
    program = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({max_bytes}, {max_bytes}));"
        "runpy.run_module('infra.embedded', run_name='__main__')"
    )
    with log.open("ab") as file:
        command = [sys.executable, "-c", program, "--stack", str(tmp_path / "stack.toml")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)

    def has_notice() -> bool:
        assert process.poll() is None, log.read_text()
        text = log.read_text()
        if len(text) == max_bytes:
            os.truncate(log, 0)
        notice = r"^stack +\| \d+ lines were dropped, because the output could not be written: "
        return bool(re.search(notice, text, re.MULTILINE))

    try:
        until(has_notice, "the log does not say that lines are missing")
    finally:
        process.kill()
        process.wait()


def test_no_process_starts_with_another_folder_at_the_path_of_the_data_folder(
    start: Start, two_servers: str, tmp_path: Path
) -> None:
    """A database would start empty. The process whose command does not name the folder is restarted."""
    command = f'"{tmp_path}/server.py", "first", "{{first_port}}", "0"'
    run = start(two_servers.replace(command, f'{command}, "{{data}}/database"'))
    run.until("everything is ready")
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"

    data.rename(elsewhere)
    data.mkdir()
    os.kill(run.pid("first"), signal.SIGKILL)
    run.until(f"first cannot be started: the data folder {data} was moved, deleted or unmounted: put it back; restart")
    os.kill(run.pid("second"), signal.SIGKILL)
    run.until("second is ready again")
    starts, kills = run.text.count("first runs as"), run.text.count("first was stopped by SIGKILL; restarting")
    data.rmdir()
    elsewhere.rename(data)
    run.until("first is ready again")

    assert (starts, kills) == (1, 1)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="without pidfd, a thread waits for each process")
def test_no_thread_waits_for_a_process(start: Start, two_servers: str) -> None:
    """With too little memory for a new thread, the supervisor would wait for its start forever."""
    run = start(two_servers)
    run.until("everything is ready")

    threads = list(Path(f"/proc/{run.process.pid}/task").iterdir())

    assert len(threads) == 2  # the event loop and the output
