"""`dropzone login` with a certified provider, and the commands that then need no key."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from dropzone import Client
from tests.identity_provider.identity_provider import SECRET, IdentityProvider
from tests.identity_provider.provider_pages import USER, confirm_device
from tests.stack import Stack

Oidc = tuple[Stack, IdentityProvider]


class Shell:
    """A user's shell, with a home folder of its own."""

    def __init__(self, home: Path, url: str) -> None:
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("DROPZONE")}
        self._environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "DROPZONE_URL": url}
        self.file = home / "config" / "dropzone" / "sign-ins.json"

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start `dropzone`."""
        command = [sys.executable, "-m", "dropzone", *arguments]
        environment = self._environment | variables
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run `dropzone`. Return its exit code, output and errors."""
        with self.start(*arguments, **variables) as process:
            output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def change(self, url: str, **values: object) -> None:
        """Change the saved sign-in for a server."""
        saved = json.loads(self.file.read_text())
        saved[url] |= values
        self.file.write_text(json.dumps(saved))

    def saved(self, url: str) -> Mapping[str, str]:
        """Return the saved sign-in for a server."""
        saved: Mapping[str, str] = json.loads(self.file.read_text())[url]
        return saved


@pytest.fixture
def shell(oidc_stack: Oidc, tmp_path: Path) -> Shell:
    """A shell whose commands use the stack."""
    return Shell(tmp_path, oidc_stack[0].url)


def test_a_user_signs_in_with_any_browser(oidc_stack: Oidc, shell: Shell) -> None:
    """The tokens are kept for their owner only, refreshed when they expire, and removed at the end."""
    stack, provider = oidc_stack
    with shell.start("login") as login:
        assert login.stderr is not None
        line = login.stderr.readline()
        found = re.fullmatch(r"open (\S+) and confirm the code (\S+)\n", line)
        assert found, line
        page = confirm_device(found[1])
        assert login.wait(60) == 0, page
        assert f"signed in as {USER} with the scopes admin, read, read-all, submit" in login.stderr.read()
    assert shell.file.stat().st_mode & 0o777 == 0o600
    assert shell.file.parent.stat().st_mode & 0o777 == 0o700

    code, output, _ = shell.run("submit", "--wait", "fixture/sample.json")
    assert code == 0
    assert '"state":"COMPUTED"' in output
    assert json.loads(shell.run("whoami", "--json")[1])["submitter"] == USER

    before = shell.saved(stack.url)["access_token"]
    shell.change(stack.url, expires_at=time.time())
    assert shell.run("whoami")[0] == 0
    assert shell.saved(stack.url)["access_token"] != before

    assert shell.run("logout")[0] == 0
    assert stack.url not in json.loads(shell.file.read_text())
    assert provider.requests("/token") > 0


def test_a_program_signs_in_with_its_secret(oidc_stack: Oidc, shell: Shell) -> None:
    """The secret is not saved. An expired sign-in says what to do."""
    stack, _ = oidc_stack
    code, _, errors = shell.run(
        "login", "--client-id", "station", "--scope", "submit read", DROPZONE_LOGIN_SECRET=SECRET
    )

    assert code == 0, errors
    assert SECRET not in shell.file.read_text()
    assert json.loads(shell.run("whoami", "--json")[1])["scopes"] == ["read", "submit"]
    shell.change(stack.url, expires_at=0)
    code, _, errors = shell.run("whoami")
    assert code == 4
    assert "run `dropzone login` again" in errors


def test_a_refused_sign_in_names_the_reason(shell: Shell) -> None:
    """Nothing is saved."""
    code, _, errors = shell.run("login", "--client-id", "station", DROPZONE_LOGIN_SECRET="wrong")

    assert code == 4
    assert "the identity provider refused the sign-in" in errors
    assert not shell.file.exists()


def test_a_server_without_a_provider_names_the_alternative(stack: Stack, tmp_path: Path) -> None:
    """It accepts API keys only."""
    code, _, errors = Shell(tmp_path, stack.url).run("login")

    assert code == 4
    assert "use an API key" in errors


def test_a_token_is_not_requested_for_another_server(oidc_stack: Oidc, tmp_path: Path) -> None:
    """A server that names another address could use the token there."""
    stack, provider = oidc_stack
    before = provider.requests("/device/auth")

    code, _, errors = Shell(tmp_path, stack.url.replace("127.0.0.1", "localhost")).run("login")

    assert code == 4
    assert f"the public URL of the server is {stack.url}" in errors
    assert provider.requests("/device/auth") == before


def test_the_python_client_takes_a_token_or_a_function(oidc_stack: Oidc) -> None:
    """A function is called before each request, so that a client outlives its first token."""
    stack, provider = oidc_stack
    calls = []

    def token() -> str:
        calls.append(1)
        return provider.token()

    async def awaited_token() -> str:
        return provider.token()

    for value in (provider.token(), token, awaited_token):
        with Client(stack.url, token=value) as client:
            receipt = client.submit({"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]})
            [settled] = client.wait([receipt.id])
            assert settled.state == "COMPUTED"
            assert client.whoami().submitter == "station"
    assert len(calls) > 2
    with pytest.raises(ValueError, match="both"):
        Client(stack.url, "a-key", token="a-token")
