"""`dropzone submit` as a process, against the whole stack."""

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from dropzone import Client
from tests.client.conftest import Start, read_terminal
from tests.stack import Stack, eventually

FIXTURE = Path("fixture/sample.json")


def ndjson(numbers: Iterable[int]) -> bytes:
    """Return NDJSON with one sample for each number."""
    return b"".join(b'{"time_stamp": "2019-05-01T06:00:00-04:00", "data": [%d, 1]}\n' % number for number in numbers)


def parse(output: bytes) -> list[Any]:
    """Return the objects of NDJSON."""
    return [json.loads(line) for line in output.splitlines()]


def stored_ids(stack: Stack, key: str) -> list[str]:
    """Return the ids of all stored samples, the newest first."""
    with Client(stack.url, key) as client:
        return [sample.id for sample in client.samples()]


def first_cursor(stack: Stack, key: str) -> str:
    """Submit a first sample and return the cursor of its result."""
    with Client(stack.url, key) as client:
        receipt = client.submit(FIXTURE.read_bytes(), idempotency_key="the first")
        assert [settled.state for settled in client.wait([receipt.id])] == ["COMPUTED"]
    edges = stack.graphql("{ results { edges { cursor } } }", key=key)["results"]["edges"]
    return str(edges[0]["cursor"])


def test_folder_is_submitted_with_all_kinds_of_sample_files(stack: Stack, start: Start, tmp_path: Path) -> None:
    """Each receipt has the name of its file. Hidden files and files with other names are skipped."""
    folder = tmp_path / "in"
    (folder / "ünter 測定").mkdir(parents=True)
    (folder / "ünter 測定" / "größe.json").write_bytes(FIXTURE.read_bytes())
    (folder / "a.ndjson.gz").write_bytes(gzip.compress(ndjson([1])) + gzip.compress(ndjson([2])))
    (folder / "b.jsonl.zst").write_bytes(zstandard.compress(ndjson([3])) + zstandard.compress(ndjson([4])))
    (folder / "many.json").write_bytes(ndjson([5, 6]))
    (folder / "pretty.json").write_text(json.dumps(json.loads(ndjson([7])), indent=2))
    (folder / ".hidden.json").write_bytes(ndjson([8]))
    (folder / "readme.txt").write_text("no sample")
    (folder / os.fsdecode(b"\xff.json")).write_bytes(ndjson([9]))
    key = stack.new_key("folder")

    ran = start(stack, key, "submit", "--wait", folder)
    output, errors = ran.communicate(timeout=100)

    assert ran.returncode == 0, errors
    lines = parse(output)
    names = [line["source"].removeprefix(f"{folder}/") for line in lines]
    assert sorted(names) == [
        "\\xff.json",
        "a.ndjson.gz:1",
        "a.ndjson.gz:2",
        "b.jsonl.zst:1",
        "b.jsonl.zst:2",
        "many.json:1",
        "many.json:2",
        "pretty.json",
        "ünter 測定/größe.json",
    ]
    assert {line["state"] for line in lines} == {"COMPUTED"}
    assert sorted(line["id"] for line in lines) == sorted(stored_ids(stack, key))
    with Client(stack.url, key) as client:
        fixture_id = next(line["id"] for line in lines if line["source"].endswith("größe.json"))
        assert client.raw(fixture_id) == FIXTURE.read_bytes()


def test_problems_are_printed_with_their_lines(stack: Stack, start: Start) -> None:
    """The exit code reports them. Standard input is read as it is written."""
    ran = start(stack, stack.new_key("wrong"), "submit", "-", stdin=subprocess.PIPE)
    assert ran.stdin is not None
    assert ran.stdout is not None
    ran.stdin.write(ndjson([1]))
    ran.stdin.flush()
    first = json.loads(ran.stdout.readline())  # printed before the end of standard input
    rest = b'\n{"time_stamp": "2019", "data": [true]}\n{"no json}\n' + ndjson([1])
    output, errors = ran.communicate(rest, timeout=100)

    assert first["source"] == "-:1"
    rejected, refused, repeated = sorted(parse(output), key=lambda line: str(line["source"]))
    assert ran.returncode == 1
    assert (rejected["source"], rejected["state"]) == ("-:3", "REJECTED")
    assert [problem["path"] for problem in rejected["problems"]] == ["$.time_stamp", "$.data[0]"]
    assert (refused["source"], refused["error"]["code"]) == ("-:4", "BAD_REQUEST")
    assert (repeated["source"], repeated["id"]) == ("-:5", first["id"])
    assert "-:3: expected a date" in errors.decode()
    assert [line.split()[:2] for line in errors.decode().splitlines()[:4]] == [
        ["samples", "4"],
        ["accepted", "2"],
        ["rejected", "1"],
        ["refused", "1"],
    ]


def test_repeated_samples_share_a_result(stack: Stack, start: Start, tmp_path: Path) -> None:
    """With --wait each line of the file has its own line of output."""
    file = tmp_path / "equal.ndjson"
    file.write_bytes(ndjson([1, 2, 1]))
    key = stack.new_key("equal")

    ran = start(stack, key, "submit", "--wait", file)
    output, errors = ran.communicate(timeout=100)

    assert ran.returncode == 0, errors
    lines = {line["source"].rpartition(":")[2]: line for line in parse(output)}
    assert sorted(lines) == ["1", "2", "3"]
    assert lines["1"]["id"] == lines["3"]["id"]
    assert {line["state"] for line in lines.values()} == {"COMPUTED"}
    assert len(stored_ids(stack, key)) == 2


def test_interrupted_submission_is_completed_by_the_same_command(stack: Stack, start: Start, tmp_path: Path) -> None:
    """Every sample is stored once. The receipts of all samples do not fit into the pipe, so the command has to wait."""
    count = 3_000
    file = tmp_path / "many.ndjson"
    file.write_bytes(ndjson(range(count)))
    key = stack.new_key("interrupted")
    first = start(stack, key, "submit", "--concurrency", "8", file)
    assert first.stdout is not None
    acknowledged = [json.loads(first.stdout.readline()) for _ in range(100)]
    first.send_signal(signal.SIGINT)
    rest, errors = first.communicate(timeout=100)
    acknowledged += parse(rest)

    again = start(stack, key, "submit", "--wait", file)
    output, summary = again.communicate(timeout=100)

    assert first.returncode == 130
    assert f"stopped after {len(acknowledged)} acknowledged samples; run the same command again" in errors.decode()
    assert 100 <= len(acknowledged) < count
    assert again.returncode == 0, summary
    ids = sorted(line["id"] for line in parse(output))
    assert len(ids) == count
    assert {line["id"] for line in acknowledged} <= set(ids)
    assert ids == sorted(stored_ids(stack, key))


def test_command_that_is_interrupted_while_it_waits_has_no_samples_to_submit(
    stack: Stack, start: Start, tmp_path: Path
) -> None:
    """All samples are stored, so only results are missing. The lines of all results do not fit into the pipe."""
    file = tmp_path / "many.ndjson"
    file.write_bytes(ndjson(range(1_000)))
    waiting = start(stack, stack.new_key("interrupted-wait"), "submit", "--wait", file)
    assert waiting.stdout is not None
    waiting.stdout.readline()  # of the first result: the command waits after it has submitted all samples
    waiting.send_signal(signal.SIGINT)
    _, errors = waiting.communicate(timeout=100)

    assert waiting.returncode == 130
    assert errors.decode().splitlines() == [
        "stopped after 1,000 acknowledged samples; run the same command again to wait for the other results; the "
        "server stores each sample once"
    ]


def test_a_corrected_sample_counts_as_computed(stack: Stack, start: Start, tmp_path: Path) -> None:
    """A repeated command gets the state that the sample has then."""
    key = stack.new_key("corrected-file")
    file = tmp_path / "sample.ndjson"
    file.write_bytes(ndjson([1]))
    (first,) = parse(start(stack, key, "submit", "--wait", file).communicate(timeout=100)[0])
    correction = tmp_path / "correction.ndjson"
    correction.write_bytes(ndjson([2]))
    corrected = start(stack, key, "submit", "--supersedes", first["id"], correction)
    assert corrected.communicate(timeout=100)[1].split()[:2] == [b"samples", b"1"]
    with Client(stack.url, key) as client:
        eventually(lambda: client.sample(first["id"]).state == "SUPERSEDED", lambda: stack.log)

    again = start(stack, key, "submit", "--wait", file)
    output, errors = again.communicate(timeout=100)

    assert again.returncode == 0, errors
    assert parse(output) == [first | {"state": "SUPERSEDED"}]


def test_submission_and_watch_survive_a_crash_of_the_api(disturbed_stack: Stack, start: Start, tmp_path: Path) -> None:
    """Every sample is stored once, and the watch prints every result once, in order."""
    file = tmp_path / "many.ndjson"
    file.write_bytes(ndjson(range(300)))
    key = disturbed_stack.new_key("outlived")
    cursor = first_cursor(disturbed_stack, key)
    watching = start(
        disturbed_stack, key, "watch", "--after", cursor, "--limit", "301", "--cursor-file", tmp_path / "cursor"
    )
    submitting = start(disturbed_stack, key, "submit", file)
    assert submitting.stdout is not None
    assert watching.stdout is not None
    acknowledged = [json.loads(submitting.stdout.readline()) for _ in range(100)]
    first = watching.stdout.readline()  # before its first response, the command ends if the API cannot be reached

    os.kill(disturbed_stack.api_pid(), signal.SIGKILL)
    rest, errors = submitting.communicate(timeout=100)
    eventually(disturbed_stack.is_ready)
    last = start(disturbed_stack, key, "submit", FIXTURE)
    last.communicate(timeout=100)
    output, warnings = watching.communicate(timeout=100)

    assert submitting.returncode == 0, errors
    assert watching.returncode == 0, warnings
    *ids, _ = stored_ids(disturbed_stack, key)  # the oldest is the sample of `first_cursor`
    assert len(ids) == len(set(ids)) == 301
    assert len(acknowledged + parse(rest)) == 300
    results = parse(first + output)
    assert sorted(result["id"] for result in results) == sorted(ids)
    assert [result["computed_at"] for result in results] == sorted(result["computed_at"] for result in results)
    assert (tmp_path / "cursor").read_text() == results[-1]["cursor"] + "\n"


def test_wait_prints_statistics_as_json(stack: Stack, start: Start) -> None:
    """The line has the time stamp in UTC, the mean, the standard deviation and the number of values."""
    ran = start(stack, stack.new_key("json"), "submit", "--wait", FIXTURE)
    output, errors = ran.communicate(timeout=100)

    assert ran.returncode == 0, errors
    [line] = parse(output)
    assert (line["source"], line["state"], line["problems"]) == ("fixture/sample.json", "COMPUTED", [])
    assert line["result"] == {
        "timestamp": "2019-05-01T10:00:00Z",
        "count": 100,
        "mean": 0.9985282517566032,
        "standard_deviation": 1.01280885259315,
    }


def test_wait_prints_a_table_on_a_terminal(stack: Stack, start: Start) -> None:
    """The table has the statistics of each sample if there are few samples. A progress bar is shown meanwhile."""
    terminal, side = os.openpty()
    ran = start(stack, stack.new_key("terminal"), "submit", "--wait", FIXTURE, stdout=side, stderr=side)
    os.close(side)
    output = read_terminal(terminal).decode()

    assert ran.wait(100) == 0
    assert "submitting" in output
    [row] = [line.split() for line in output.splitlines() if line.startswith("fixture/sample.json")]
    assert row[:-1] == ["fixture/sample.json", "COMPUTED", "2019-05-01T10:00:00Z", "0.998528", "1.01281", "100"]
    assert "computed" in output
    assert "{" not in output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["results", "--url", "http://127.0.0.1:9"], 3, "cannot connect to http://127.0.0.1:9"),
        (["submit", "--key", "dz_wrong", str(FIXTURE)], 4, "send a valid API key"),
        (["submit", "no such file"], 2, "no such file does not exist"),
        (
            ["submit", "--supersedes", "x", str(FIXTURE), str(FIXTURE)],
            2,
            "expected a file with one sample, got several",
        ),
        (["watch", "--after", "no cursor"], 2, "expected a cursor"),
        (["watch", "--cursor-file", "nowhere/state"], 2, "the folder nowhere does not exist"),
        (["watch", "--cursor-file", "/dev/null"], 2, "/dev/null is empty, as after a power"),
        (["results", "--where", "mean.gte=nan"], 2, "expected a number for mean, got nan"),
        (["results", "--where", "timestamp.gte=2026-01-01"], 2, "expected a time with a UTC offset"),
        (["results", "--where", "timestamp.gte=0001-01-01T00:00:00+01:00"], 2, "between the years 1 and 9999 in UTC"),
        (["results", "--all", "-n", "3"], 2, "cannot be combined with --limit"),
        (["results", "--url", "127.0.0.1:8000", "--key", ""], 2, "expected a URL"),
        (["show", "--raw", ".."], 1, "sample .. does not exist"),
    ],
)
def test_errors_are_a_sentence_and_an_exit_code(
    stack: Stack, start: Start, arguments: list[str], code: int, message: str
) -> None:
    """No traceback is printed, and standard output is empty."""
    ran = start(stack, stack.key, *arguments)
    output, errors = ran.communicate(timeout=100)

    assert ran.returncode == code
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()
    assert output == b""
