"""Commands for operators whose Firestore cannot be reached."""

import re
from collections.abc import Callable, Sequence

import pytest

from graphql_api.erasure.__main__ import main as erase
from storage.firestore import client
from tests.ports import free_port
from triggers.verify.__main__ import main as verify


@pytest.mark.parametrize(("command", "arguments"), [(verify, []), (erase, ["--submitter", "unreachable", "--yes"])])
def test_a_command_names_the_firestore_that_it_cannot_reach(
    monkeypatch: pytest.MonkeyPatch, command: Callable[[Sequence[str]], object], arguments: Sequence[str]
) -> None:
    """It does not wait as long as for a read."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "unreachable")
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.1)

    with pytest.raises(SystemExit, match=f"^error: cannot connect to Firestore at {re.escape(address)} within 0.1 s"):
        command(arguments)
