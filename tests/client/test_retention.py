"""`dropzone retention` and `Client.retention`."""

import json
import subprocess

from dropzone import Client, Retention
from tests.client.conftest import Start
from tests.stack import Stack


def test_a_change_is_confirmed_and_changes_only_what_is_given(stack: Stack, start: Start) -> None:
    """Without a confirmation, nothing changes."""
    key = stack.new_key("retention-command", "submit,read,admin")

    declined = start(stack, key, "retention", "--samples", "9", stdin=subprocess.PIPE)
    _, question = declined.communicate(b"n\n", timeout=100)
    changed = start(stack, key, "retention", "--samples", "9", "--yes")
    output, _ = changed.communicate(timeout=100)

    assert b"From now on, submitted samples are deleted after 9 days and their results are kept for ever" in question
    assert [process.returncode for process in (declined, changed)] == [1, 0]
    assert json.loads(output) == {"sample_days": 9, "result_days": None, "is_default": False}
    with Client(stack.url, key) as client:
        assert client.retention() == Retention(9)
        assert client.set_retention(Retention(9, 30)) == Retention(9, 30)
        assert client.set_retention(None) == Retention(is_default=True)
