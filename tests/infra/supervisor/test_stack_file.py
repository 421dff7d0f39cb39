"""The stack file: its check, its greeting, its addresses, and clear errors if it is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded.stack_file import reader
from infra.embedded.stack_file.stack import StackError
from tests.infra.supervisor.run import Run, is_running
from tests.ports import free_port

Start = Callable[..., Run]


def test_the_check_of_the_settings_runs_before_anything_starts(start: Start, two_servers: str) -> None:
    """If it fails, its output is the error."""
    check = 'check = ["{python}", "-c", "import os; raise SystemExit(\'error: wrong \' + os.environ[\'TEST_SLOW\'])"]\n'
    run = start(check + two_servers, TEST_SLOW="x")

    assert run.wait() == 1

    assert run.lines == ["error: wrong x"]


def test_the_greeting_runs_once_everything_is_ready(start: Start, two_servers: str) -> None:
    """Its output has no prefix. If it fails, an error is logged and the stack continues."""
    greeting = '[greeting]\ncommand = ["{python}", "-c", "print(\'hello\'); raise SystemExit(3)"]\n'
    run = start(two_servers + greeting, "--greet")

    run.until("the greeting exited with code 3; the stack continues")

    assert run.text.index("\nhello\n") > run.text.index("everything is ready")
    assert is_running(run.pid("second"))


def test_without_the_option_there_is_no_greeting(start: Start, two_servers: str) -> None:
    """A service has no use for it."""
    greeting = '[greeting]\ncommand = ["{python}", "-c", "print(\'hello\')"]\n'
    run = start(two_servers + greeting)
    run.until("everything is ready")

    run.stop()

    assert "hello" not in run.lines


def test_the_ready_message_follows_the_greeting(start: Start, two_servers: str) -> None:
    """It contains the URLs of the processes."""
    greeting = '[greeting]\ncommand = ["{python}", "-c", "print(\'hello\')"]\n'
    port = free_port()
    run = start(
        f'ready_message = "First  {{first_url}}/"\n{two_servers}{greeting}', "--greet", TEST_FIRST_PORT=str(port)
    )

    run.until(f"\nFirst  http://127.0.0.1:{port}/")

    assert run.text.index("\nhello\n") < run.text.index("\nFirst")


@pytest.mark.parametrize(("log_format", "count"), [("text", 2), ("json", 1)])
def test_a_json_log_contains_no_start_token(tmp_path: Path, log_format: str, count: int) -> None:
    """Programs store such a log, and the token lets its readers sign in. A user reads the text on a terminal."""
    file = tmp_path / "stack.toml"
    file.write_text(
        """
environment_prefix = "TEST_"
log_setting = "log_format"
ready_message = "Page\\nLink {start_token}"
[settings]
log_format = ""
"""
    )

    lines = reader.read(file, {"TEST_LOG_FORMAT": log_format}).ready_message.splitlines()

    assert lines[0] == "Page"
    assert len(lines) == count


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:7"), ("::", "http://[::1]:7"), ("192.0.2.1", "http://192.0.2.1:7")],
)
def test_the_url_of_a_process_is_one_that_this_machine_can_open(tmp_path: Path, host: str, url: str) -> None:
    """An address that means all addresses becomes loopback, and IPv6 addresses get brackets."""
    file = tmp_path / "stack.toml"
    file.write_text(
        f"""
ready_message = "{{a_url}}"
[settings]
host = "{host}"
port = 7
[[processes]]
name = "a"
command = ["x"]
port_setting = "port"
host_setting = "host"
"""
    )

    assert reader.read(file, {}).ready_message == url


@pytest.mark.parametrize(
    ("public_url", "url"), [("", "https://127.0.0.1:7"), ("https://dropzone.example/", "https://dropzone.example")]
)
def test_a_process_with_a_certificate_has_a_url_and_probes_with_https(
    tmp_path: Path, public_url: str, url: str
) -> None:
    """Without one, the public URL is that of a proxy, which may not run yet."""
    file = tmp_path / "stack.toml"
    file.write_text(
        f"""
environment_prefix = "TEST_"
ready_message = "{{a_url}}"
[settings]
certificate = ""
public_url = "{public_url}"
port = 7
[[processes]]
name = "a"
command = ["x"]
port_setting = "port"
tls_setting = "certificate"
public_url_setting = "public_url"
ready = "http://{{own_address}}/ready"
liveness = {{ address = "http://{{own_address}}/alive" }}
"""
    )

    plain, secure = reader.read(file, {}), reader.read(file, {"TEST_CERTIFICATE": "certificate.pem"})

    assert (plain.ready_message, secure.ready_message) == ("http://127.0.0.1:7", url)
    assert [stack.processes[0].ready for stack in (plain, secure)] == [
        "http://{own_address}/ready",
        "https://{own_address}/ready",
    ]
    assert secure.processes[0].liveness is not None
    assert secure.processes[0].liveness.address == "https://{own_address}/alive"


@pytest.mark.parametrize(
    ("stack", "variables", "message"),
    [
        ("[settings]\nport = 1", {"TEST_PORT": "x"}, "TEST_PORT must be a whole number, got 'x'"),
        ("[settings]\nport = 1", {"TEST_PORT": "٨٠٠٠"}, "TEST_PORT must be a whole number, got '٨٠٠٠'"),
        ('[settings]\nfolder = ""', {"TEST_FOLDER": "x\udcff"}, r"TEST_FOLDER must be text in UTF-8, got 'x\udcff'"),
        ("[settings\n", {}, "stack.toml: "),
        ("[[process]]\n", {}, "unknown field `process`"),
        (
            '[[processes]]\nname = "a"\ncommand = ["x"]\nliveness = { address = "tcp://a:1", max_failures = 0 }',
            {},
            "Expected `int` >= 1 - at `$.processes[0].liveness.max_failures`",
        ),
        ('[[processes]]\nname = "a"\ncommand = ["{nothing}"]', {}, "unknown setting in a placeholder: 'nothing'"),
        (
            '[[processes]]\nname = "a"\ncommand = ["x"]\nafter = ["b"]',
            {},
            "'a' starts after 'b', which is not listed above it",
        ),
        (
            '[[processes]]\nname = "a"\ncommand = ["x"]\nport_setting = "b"',
            {},
            "'a' has a port_setting: set 'b' to a number in [settings]",
        ),
        (
            '[settings]\na = 7\nb = 7\n[[processes]]\nname = "a"\ncommand = ["x"]\nport_setting = "a"\n'
            '[[processes]]\nname = "b"\ncommand = ["x"]\nport_setting = "b"',
            {},
            "TEST_B and TEST_A are both 7",
        ),
        (
            '[settings]\na = 70000\n[[processes]]\nname = "a"\ncommand = ["x"]\nport_setting = "a"',
            {},
            "TEST_A must be a port from 1 to 65535",
        ),
        (
            '[[processes]]\nname = "a"\ncommand = ["x"]\nready = "localhost"',
            {},
            "stack.toml: 'a': expected an address such as http://host:port/path, got 'localhost'",
        ),
        (
            '[[processes]]\nname = "a"\ncommand = ["x"]\nliveness = { address = "tcp://a:70000" }',
            {},
            "stack.toml: 'a': expected an address such as http://host:port/path, got 'tcp://a:70000'",
        ),
    ],
)
def test_a_wrong_stack_file_is_a_clear_error(start: Start, stack: str, variables: dict[str, str], message: str) -> None:
    """The error says what is wrong and where. Nothing is started."""
    run = start(f'environment_prefix = "TEST_"\n{stack}', **variables)

    assert run.wait() == 1

    assert message in run.text
    assert "Traceback" not in run.text


def test_a_variable_that_the_stack_sets_cannot_be_set_to_another_value(tmp_path: Path) -> None:
    """It had no effect, and no message said so. Variables of other programs are replaced."""
    file = tmp_path / "stack.toml"
    file.write_text('environment_prefix = "TEST_"\n[environment]\nTEST_FILE = "a"\nOTHER = "a"\n')
    same = reader.read(file, {"TEST_FILE": "a", "OTHER": "b"})
    empty = reader.read(file, {"TEST_FILE": ""})

    with pytest.raises(StackError) as refused:
        reader.read(file, {"TEST_FILE": "b"})

    assert str(refused.value) == "TEST_FILE cannot be set here, because the stack sets it to 'a': unset TEST_FILE"
    assert [each.environment["TEST_FILE"] for each in (same, empty)] == ["a", "a"]
    assert same.environment["OTHER"] == "a"
