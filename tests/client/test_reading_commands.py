"""What `dropzone results`, `watch`, `show` and `keys` print, against the whole stack."""

import csv
import json
import os
import signal
import socket
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from dropzone import Client, Forbidden
from dropzone.encoding import format_time
from storage.documents import document_paths
from tests.client.conftest import Start, output_of, read_terminal, run
from tests.stack import Stack, eventually

KeyAndIds = tuple[str, list[str]]


@pytest.fixture(scope="module")
def submitted(stack: Stack) -> KeyAndIds:
    """Return a key, and the ids of three results with the means 1, 2 and 3."""
    key = stack.new_key("reading", label="roof sensor")
    with Client(stack.url, key) as client:
        ids = []
        for mean in (1, 2, 3):  # one by one, because results of one commit have the same time
            receipt = client.submit({"time_stamp": f"2019-05-0{mean}T00:00:00Z", "data": [mean - 0.5, mean + 0.5]})
            ids += [settled.id for settled in client.wait([receipt.id])]
    return key, ids


def test_results_are_printed_as_ndjson_json_and_csv(stack: Stack, submitted: KeyAndIds) -> None:
    """Filters, order and limit are options."""
    key, ids = submitted
    conditions = ["--where", "mean.gte=1.5", "--where", "timestamp.lt=2019-05-03T00:00:00Z"]

    one = json.loads(output_of(stack, key, "results", *conditions))
    ordered = json.loads(output_of(stack, key, "results", "--order-by", "mean", "-d", "-n", "2", "-f", "json"))
    rows = list(csv.DictReader(StringIO(output_of(stack, key, "results", "--all", "--format", "csv"))))

    assert (one["id"], one["timestamp"], one["median"]) == (ids[1], "2019-05-02T00:00:00Z", 2.0)
    assert sum(one["histogram"]["counts"]) == 2
    assert [result["mean"] for result in ordered] == [3.0, 2.0]
    assert [(row["id"], row["mean"]) for row in rows] == [(ids[2], "3.0"), (ids[1], "2.0"), (ids[0], "1.0")]
    assert list(rows[0])[:5] == ["id", "timestamp", "count", "sum", "mean"]


def test_an_operator_reads_what_another_submitter_has(stack: Stack, submitted: KeyAndIds) -> None:
    """The option and the argument `submitter` name it. The client cannot submit for it."""
    key, ids = submitted
    oldest = "{ results(first: 1, orderBy: {field: COMPUTED_AT}) { edges { cursor } } }"
    [edge] = stack.graphql(oldest, key=key)["results"]["edges"]
    operator = stack.new_key("operators-of-the-command", "submit,read,read-all")

    lines = output_of(stack, operator, "results", "--submitter", "reading").splitlines()
    with Client(stack.url, operator, submitter="reading") as client:
        read = [result.id for result in client.results()]
        watched = next(client.watch(after=edge["cursor"])).result.id
        with pytest.raises(Forbidden, match="can only read"):
            client.submit({"time_stamp": "2019-05-01T00:00:00Z", "data": [1]})

    assert [json.loads(line)["id"] for line in lines] == read == ids[::-1]
    assert watched == ids[1]
    assert output_of(stack, operator, "results") == ""


def test_csv_without_results_has_a_header(stack: Stack, submitted: KeyAndIds) -> None:
    """It is the header of a file with results."""
    arguments = ("results", "--format", "csv", "--where")

    none = output_of(stack, submitted[0], *arguments, "mean.gt=99")
    some = output_of(stack, submitted[0], *arguments, "mean.gt=0")

    assert none.splitlines() == some.splitlines()[:1]
    assert none.startswith("id,timestamp,")


@pytest.mark.parametrize("command", [["results"], ["summary"], ["latest", "--by", "site"], ["show", "x"], ["whoami"]])
def test_a_wrong_address_is_reported_after_the_first_request(stack: Stack, command: list[str]) -> None:
    """Only a server that has responded once is asked again."""
    connections = 0
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
        server.settimeout(0.1)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        running = threads.submit(run, stack, "dz_any", *command, "--url", url)
        while not running.done():
            with suppress(TimeoutError):
                server.accept()[0].close()
                connections += 1

    assert running.result().exit_code == 3
    assert connections == 1


def test_results_are_a_table_on_a_terminal(stack: Stack, start: Start, submitted: KeyAndIds) -> None:
    """No column is truncated."""
    key, ids = submitted
    terminal, side = os.openpty()

    ran = start(stack, key, "results", stdout=side)

    os.close(side)
    output = read_terminal(terminal).decode()
    assert ran.wait(100) == 0
    assert "std. deviation" in output
    assert all(sample_id in output for sample_id in ids)


def test_show_prints_a_sample_with_its_histogram(stack: Stack, submitted: KeyAndIds) -> None:
    """Options print it as JSON, or byte for byte."""
    key, ids = submitted

    text = output_of(stack, key, "show", ids[0])
    sample: dict[str, Any] = json.loads(output_of(stack, key, "show", ids[0], "--json"))
    raw = output_of(stack, key, "show", ids[0], "--raw")

    lines = [line.rstrip() for line in text.splitlines()]
    assert {"state         COMPUTED", "submitted by  roof sensor"} <= set(lines)
    assert "mean                       1.0" in lines
    assert any(line.endswith("█" * 40) for line in lines)
    assert sample["result"]["mean"] == 1.0
    assert json.loads(raw) == {"time_stamp": "2019-05-01T00:00:00Z", "data": [0.5, 1.5]}


def test_show_prints_the_timeline_of_a_corrected_sample(stack: Stack) -> None:
    """One line for each event, with its time. The last line names the correction."""
    key = stack.new_key(f"show-{uuid.uuid4().hex[:8]}")
    with Client(stack.url, key) as client:
        wrong = client.submit({"time_stamp": "2019-05-01T00:00:00Z", "data": [1]}).id
        list(client.wait([wrong]))
        right = client.submit({"time_stamp": "2019-05-01T00:00:00Z", "data": [2]}, supersedes=wrong).id
        stack.wait_for(wrong, "SUPERSEDED", key=key)
        timeline = client.sample(wrong).timeline

    lines = [line.rstrip() for line in output_of(stack, key, "show", wrong).splitlines()]

    expected = [f"{format_time(entry.at)}  {entry.event}" for entry in timeline]
    assert [entry.event for entry in timeline] == ["STORED", "COMPUTED", "SUPERSEDED"]
    assert [line for line in lines if line in {*expected, f"{expected[-1]}: {right}"}] == [
        *expected[:-1],
        f"{expected[-1]}: {right}",
    ]


def test_show_prints_the_number_of_missing_values(stack: Stack) -> None:
    """The number of values does not include them."""
    key = stack.new_key("show-missing")
    with Client(stack.url, key) as client:
        receipt = client.submit({"time_stamp": "2019-05-01T00:00:00Z", "data": [1, None, None], "missing": "skip"})
        list(client.wait([receipt.id]))

    lines = [line.split() for line in output_of(stack, key, "show", receipt.id).splitlines()]

    assert ["missing", "2"] in lines


def test_show_prints_why_a_sample_is_still_pending(stack: Stack) -> None:
    """Event delivery writes the document while the function fails."""
    submitter = f"show-{uuid.uuid4().hex[:8]}"
    key = stack.new_key(submitter)
    sample_id = stack.submit_fixture(key=key)["id"]
    stack.wait_for(sample_id, key=key)
    attempts = {"attempts": 8, "problem": "500 Internal Server Error"}
    stack.firestore().document(document_paths.failed_attempts(submitter, sample_id)).set(attempts)
    stack.firestore().document(document_paths.result(submitter, sample_id)).delete()

    lines = output_of(stack, key, "show", sample_id).splitlines()

    assert any(line.startswith("failed        8 attempts until ") for line in lines)
    assert "last problem  500 Internal Server Error" in [line.rstrip() for line in lines]


@pytest.mark.parametrize("options", [["--raw"], ["--json"], []])
def test_a_sample_cannot_control_the_terminal(
    stack: Stack, start: Start, submitted: KeyAndIds, options: list[str]
) -> None:
    """Escape sequences (C0 and C1) and characters that reorder text are escaped. A file gets the bytes unchanged."""
    key, _ = submitted
    raw = b'{"time_stamp": "\\u001b[2J\xc2\x9b31m\xe2\x80\xaeZ", "note": "\x7f\xc2\x9b\xe2\x80\xae", "data": [1]}'
    sample_id = stack.post_sample(raw, x_api_key=stack.new_key("reading", "submit")).json()["id"]
    terminal, side = os.openpty()

    shown = start(stack, key, "show", sample_id, *options, stdout=side)
    os.close(side)
    output = read_terminal(terminal).decode()
    assert shown.wait(100) == 0

    assert {character for character in output if ord(character) < 32} <= {"\n", "\r", "\x1b"}
    assert "\x1b[2J" not in output
    assert not {"\x7f", "\x9b", "\u202e"} & set(output)
    assert "\\u202e" in output
    if options == ["--raw"]:
        assert start(stack, key, "show", sample_id, *options).communicate(timeout=100)[0] == raw


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full, as Linux has one")
@pytest.mark.parametrize("command", ["results", "show", "--help", "--version"])
def test_output_that_cannot_be_written_is_an_error(
    stack: Stack, start: Start, submitted: KeyAndIds, command: str
) -> None:
    """A full disk is reported in one sentence. A closed pipe, as `head` leaves it, ends the command silently."""
    key, ids = submitted
    arguments = [command, *ids[: command == "show"]]

    with Path("/dev/full").open("wb") as full:
        ran = start(stack, key, *arguments, stdout=full)
        _, errors = ran.communicate(timeout=100)
    read, write = os.pipe()
    os.close(read)
    piped = start(stack, key, *arguments, stdout=write)
    os.close(write)
    _, nothing = piped.communicate(timeout=100)

    assert (ran.returncode, errors) == (1, b"error: cannot write to standard output: No space left on device\n")
    assert (piped.returncode, nothing) == (1 if command.startswith("--") else 141, b"")


def test_a_closed_standard_output_is_an_error(stack: Stack, start: Start, submitted: KeyAndIds) -> None:
    """The shell closes it with `>&-`."""
    ran = start(stack, submitted[0], "results", stdout=None, preexec_fn=partial(os.close, 1))

    assert ran.communicate(timeout=100)[1] == b"error: cannot write to standard output: it is closed\n"
    assert ran.returncode == 1


def test_watch_resumes_after_a_stored_cursor(stack: Stack, start: Start, submitted: KeyAndIds, tmp_path: Path) -> None:
    """The file of --cursor-file holds the cursor. Without a file, Ctrl-C prints it. The advice must work."""
    key, ids = submitted
    query = "{ results(orderBy: {field: COMPUTED_AT}) { edges { cursor } } }"
    first = stack.graphql(query, key=key)["results"]["edges"][0]
    state = tmp_path / "state"
    state.write_text(first["cursor"])

    one = json.loads(output_of(stack, key, "watch", "--limit", "1", "--cursor-file", state))
    other, advice = interrupted(start(stack, key, "watch", "--cursor-file", state))
    same, advice_without_file = interrupted(start(stack, key, "watch", "--after", one["cursor"]))
    both = interrupted(start(stack, key, "watch", "--after", one["cursor"], "--cursor-file", tmp_path / "new"))

    assert [one["id"], other["id"], same["id"]] == [*ids[1:], ids[2]]
    assert advice == f"stopped; to resume, run the command with --cursor-file {state}\n"
    assert both == (same, f"stopped; to resume, run the command with --cursor-file {tmp_path / 'new'}\n")
    assert advice_without_file == f"stopped; to resume, run the command with --after {same['cursor']}\n"
    assert state.read_text().strip() == other["cursor"]


def interrupted(watching: subprocess.Popen[bytes]) -> tuple[dict[str, Any], str]:
    """Send Ctrl-C after the first result. Return this result and the standard error."""
    assert watching.stdout is not None
    result = json.loads(watching.stdout.readline())
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=100)
    assert watching.returncode == 130
    return result, errors.decode()


def test_watch_resumes_although_its_first_run_had_no_result(stack: Stack, start: Start, tmp_path: Path) -> None:
    """Results that are stored between two runs are printed by the second run."""
    key = stack.new_key("watched-without-results")
    state = tmp_path / "state"
    first = start(stack, key, "watch", "--cursor-file", state)
    eventually(state.exists)
    first.send_signal(signal.SIGINT)
    assert first.wait(100) == 130
    with Client(stack.url, key) as client:
        receipts = [client.submit({"time_stamp": f"2019-05-0{day}T00:00:00Z", "data": [day]}) for day in (1, 2)]
        list(client.wait([receipt.id for receipt in receipts]))

    lines = output_of(stack, key, "watch", "--cursor-file", state, "--limit", "2").splitlines()

    assert {json.loads(line)["id"] for line in lines} == {receipt.id for receipt in receipts}


def test_keys_runs_the_operator_command(stack: Stack, start: Start, submitted: KeyAndIds) -> None:
    """Arguments and exit code are passed on."""
    listing = start(stack, submitted[0], "keys", "list", "--submitter", "reading")
    listed, _ = listing.communicate(timeout=100)
    wrong = start(stack, submitted[0], "keys", "revoke")
    _, errors = wrong.communicate(timeout=100)

    assert "reading  read,submit" in listed.decode()
    assert (listing.returncode, wrong.returncode) == (0, 1)
    assert "expected --digest or --submitter" in errors.decode()


@pytest.mark.parametrize("command", ["keys", "up"])
def test_the_help_of_an_operator_command_names_it_as_the_user_does(command: str, start: Start, stack: Stack) -> None:
    """Not as the module that runs."""
    helped = start(stack, "", command, "--help")
    printed, _ = helped.communicate(timeout=100)

    assert printed.decode().startswith(f"usage: dropzone {command} ")
    assert "python -m" not in printed.decode()
