"""`dropzone samples`: the samples in a state, with their problems."""

import json
import os

from tests.client.conftest import Process, Start, read_terminal
from tests.stack import Stack


def printed(process: Process) -> str:
    """Return what a command prints that succeeds."""
    output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, b"")
    return output.decode()


def test_samples_are_listed_by_state_and_label(stack: Stack, start: Start) -> None:
    """A publisher finds the samples that were rejected, and why. Each line is what `show --json` prints."""
    key = stack.new_key("listing-samples")
    sites = ("bern", "zurich", "zurich")
    ids = [stack.submit({"data": [True], "labels": {"site": site}}, key=key)["id"] for site in sites]
    computed = stack.submit({"time_stamp": "2019-05-01T00:00:00Z", "data": [1]}, key=key)["id"]
    stack.wait_for(computed, key=key)

    rejected = printed(start(stack, key, "samples", "--state", "rejected", "--label", "site=zurich")).splitlines()
    newest = printed(start(stack, key, "samples", "--limit", "1"))
    controller, terminal = os.openpty()
    with start(stack, key, "samples", stdout=terminal):
        os.close(terminal)
        table = read_terminal(controller).decode().splitlines()
    os.close(controller)

    assert [json.loads(line)["id"] for line in rejected] == ids[:0:-1]
    assert newest == printed(start(stack, key, "show", "--json", computed))
    assert [line.split()[-1] for line in table[1:]] == [computed, *ids[::-1]]
    assert "expected a time stamp, but it is missing - at $.time_stamp (and 1 more)" in table[2]
