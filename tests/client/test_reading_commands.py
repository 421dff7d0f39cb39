"""`dropzone results`, `watch`, `show`, `keys`: what they print, against the whole stack."""

import csv
import json
import os
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from dropzone import Client
from tests.client.conftest import Process, Start, everything
from tests.stack import Stack

Known = tuple[str, list[str]]


@pytest.fixture(scope="module")
def known(stack: Stack) -> Known:
    """A key, and the ids of three results with the means 1, 2 and 3."""
    key = stack.new_key("reading")
    with Client(stack.url, key) as client:
        ids = []
        for mean in (1, 2, 3):  # one after the other: results of one commit have no order of their own
            receipt = client.submit({"time_stamp": f"2019-05-0{mean}T00:00:00Z", "data": [mean - 0.5, mean + 0.5]})
            ids += [settled.id for settled in client.wait([receipt.id])]
    return key, ids


def printed(ran: Process) -> str:
    """Return what a command printed that went well."""
    output, told = ran.communicate(timeout=100)
    assert ran.returncode == 0, told
    return output.decode()


def test_results_are_printed_for_programs(stack: Stack, start: Start, known: Known) -> None:
    """One a line, as a list, or as a table for spreadsheets."""
    key, ids = known
    chosen = ["--where", "mean.gte=1.5", "--where", "timestamp.lt=2019-05-03T00:00:00Z"]

    one = json.loads(printed(start(stack, key, "results", *chosen)))
    ordered = json.loads(printed(start(stack, key, "results", "--order-by", "mean", "-d", "-n", "2", "-f", "json")))
    rows = list(csv.DictReader(StringIO(printed(start(stack, key, "results", "--all", "--format", "csv")))))

    assert (one["id"], one["timestamp"], one["median"]) == (ids[1], "2019-05-02T00:00:00Z", 2.0)
    assert sum(one["histogram"]["counts"]) == 2
    assert [result["mean"] for result in ordered] == [3.0, 2.0]
    assert [(row["id"], row["mean"]) for row in rows] == [(ids[2], "3.0"), (ids[1], "2.0"), (ids[0], "1.0")]


def test_results_are_a_table_on_a_terminal(stack: Stack, start: Start, known: Known) -> None:
    """With nothing cut off."""
    key, ids = known
    terminal, side = os.openpty()

    ran = start(stack, key, "results", stdout=side)

    os.close(side)
    shown = everything(terminal).decode()
    assert ran.wait(100) == 0
    assert "std. deviation" in shown
    assert all(sample_id in shown for sample_id in ids)


def test_a_sample_is_shown_with_its_histogram(stack: Stack, start: Start, known: Known) -> None:
    """Or as JSON, or byte for byte."""
    key, ids = known

    shown = printed(start(stack, key, "show", ids[0]))
    given: dict[str, Any] = json.loads(printed(start(stack, key, "show", ids[0], "--json")))
    raw = printed(start(stack, key, "show", ids[0], "--raw"))

    lines = [line.rstrip() for line in shown.splitlines()]
    assert "state       COMPUTED" in lines
    assert "mean                       1.0" in lines
    assert any(line.endswith("█" * 40) for line in lines)
    assert given["result"]["mean"] == 1.0
    assert json.loads(raw) == {"time_stamp": "2019-05-01T00:00:00Z", "data": [0.5, 1.5]}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full, as Linux has one")
@pytest.mark.parametrize("command", ["results", "show"])
def test_output_that_has_no_place_is_an_error(stack: Stack, start: Start, known: Known, command: str) -> None:
    """A full disk is said in a sentence; who has read enough, as `head` has, is no reason to say anything."""
    key, ids = known
    asked = [command, *ids[: command == "show"]]

    with Path("/dev/full").open("wb") as full:
        ran = start(stack, key, *asked, stdout=full)
        _, told = ran.communicate(timeout=100)
    read, write = os.pipe()
    os.close(read)
    piped = start(stack, key, *asked, stdout=write)
    os.close(write)
    _, nothing = piped.communicate(timeout=100)

    assert (ran.returncode, told) == (1, b"dropzone: what is printed cannot be written: No space left on device\n")
    assert (piped.returncode, nothing) == (141, b"")


def test_a_watch_goes_on_where_the_last_one_ended(stack: Stack, start: Start, known: Known, tmp_path: Path) -> None:
    """From the file that it keeps; at Ctrl-C it says from where."""
    key, ids = known
    query = "{ results(orderBy: {field: COMPUTED_AT}) { edges { cursor } } }"
    first = stack.graphql(query, key=key)["results"]["edges"][0]
    state = tmp_path / "state"
    state.write_text(first["cursor"])

    one = json.loads(printed(start(stack, key, "watch", "--limit", "1", "--state", state)))
    watching = start(stack, key, "watch", "--state", state)
    assert watching.stdout is not None
    other = json.loads(watching.stdout.readline())
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=100)

    assert [one["id"], other["id"]] == ids[1:]
    assert watching.returncode == 130
    assert told.decode() == f"dropzone: go on with --after {other['cursor']}\n"
    assert state.read_text().strip() == other["cursor"]


def test_the_operators_command_for_keys_is_handed_over_to(stack: Stack, start: Start, known: Known) -> None:
    """With its arguments and its exit code."""
    listed = printed(start(stack, known[0], "keys", "list", "--submitter", "reading"))
    wrong = start(stack, known[0], "keys", "revoke")
    _, told = wrong.communicate(timeout=100)

    assert "reading  read,submit" in listed
    assert wrong.returncode == 1
    assert "say which keys" in told.decode()
