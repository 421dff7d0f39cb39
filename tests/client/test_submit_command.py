"""`dropzone submit`, as a process, against the whole stack."""

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
from tests.client.conftest import Start, everything
from tests.stack import Stack, eventually

FIXTURE = Path("fixture/sample.json")


def lines(numbers: Iterable[int]) -> bytes:
    """Return NDJSON with a sample for each number."""
    return b"".join(b'{"time_stamp": "2019-05-01T06:00:00-04:00", "data": [%d, 1]}\n' % number for number in numbers)


def printed(output: bytes) -> list[Any]:
    """Return what was printed as NDJSON."""
    return [json.loads(line) for line in output.splitlines()]


def stored(stack: Stack, key: str) -> list[str]:
    """Return the ids of all samples that there are."""
    with Client(stack.url, key) as client:
        return [sample.id for sample in client.samples()]


def first_cursor(stack: Stack, key: str) -> str:
    """Return the cursor of a first result."""
    with Client(stack.url, key) as client:
        receipt = client.submit(FIXTURE.read_bytes(), idempotency_key="the first")
        assert [settled.state for settled in client.wait([receipt.id])] == ["COMPUTED"]
    edges = stack.graphql("{ results { edges { cursor } } }", key=key)["results"]["edges"]
    return str(edges[0]["cursor"])


def test_a_folder_is_submitted_whatever_its_files_are_called(stack: Stack, start: Start, tmp_path: Path) -> None:
    """Plain and compressed, one sample and many, each under its name; anything else is passed over."""
    folder = tmp_path / "in"
    (folder / "ünter 測定").mkdir(parents=True)
    (folder / "ünter 測定" / "größe.json").write_bytes(FIXTURE.read_bytes())
    (folder / "a.ndjson.gz").write_bytes(gzip.compress(lines([1])) + gzip.compress(lines([2])))
    (folder / "b.jsonl.zst").write_bytes(zstandard.compress(lines([3])) + zstandard.compress(lines([4])))
    (folder / "many.json").write_bytes(lines([5, 6]))
    (folder / "pretty.json").write_text(json.dumps(json.loads(lines([7])), indent=2))
    (folder / ".hidden.json").write_bytes(lines([8]))
    (folder / "readme.txt").write_text("no sample")
    (folder / os.fsdecode(b"\xff.json")).write_bytes(lines([9]))
    key = stack.new_key("folder")

    ran = start(stack, key, "submit", "--wait", folder)
    output, told = ran.communicate(timeout=100)

    assert ran.returncode == 0, told
    found = printed(output)
    names = [receipt["source"].removeprefix(f"{folder}/") for receipt in found]
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
    assert {receipt["state"] for receipt in found} == {"COMPUTED"}
    assert sorted(receipt["id"] for receipt in found) == sorted(stored(stack, key))
    with Client(stack.url, key) as client:
        whole = next(receipt["id"] for receipt in found if receipt["source"].endswith("größe.json"))
        assert client.raw(whole) == FIXTURE.read_bytes()


def test_what_is_wrong_is_told_with_its_line(stack: Stack, start: Start) -> None:
    """And the exit code says that not all went well; samples come from standard input while they are made."""
    ran = start(stack, stack.new_key("wrong"), "submit", "-", stdin=subprocess.PIPE)
    assert ran.stdin is not None
    assert ran.stdout is not None
    ran.stdin.write(lines([1]))
    ran.stdin.flush()
    first = json.loads(ran.stdout.readline())  # it does not wait for the end
    output, told = ran.communicate(b'\n{"time_stamp": "2019", "data": [true]}\n{"no json}\n' + lines([1]), timeout=100)

    assert first["source"] == "-:1"
    rejected, refused, equal = sorted(printed(output), key=lambda receipt: str(receipt["source"]))
    assert ran.returncode == 1
    assert (rejected["source"], rejected["state"]) == ("-:3", "REJECTED")
    assert [problem["path"] for problem in rejected["problems"]] == ["$.time_stamp", "$.data[0]"]
    assert (refused["source"], refused["error"]["code"]) == ("-:4", "BAD_REQUEST")
    assert (equal["source"], equal["id"]) == ("-:5", first["id"])
    assert "-:3: expected a date" in told.decode()
    assert [line.split()[:2] for line in told.decode().splitlines()[:5]] == [
        ["samples", "4"],
        ["accepted", "2"],
        ["rejected", "1"],
        ["refused", "1"],
        ["equal", "1"],
    ]


def test_an_interrupted_submission_goes_on_where_it_stopped(stack: Stack, start: Start, tmp_path: Path) -> None:
    """Every sample is there once, and what was acknowledged is not sent again."""
    file = tmp_path / "many.ndjson"
    file.write_bytes(lines(range(600)))
    key = stack.new_key("interrupted")
    first = start(stack, key, "submit", "--concurrency", "8", file)
    assert first.stdout is not None
    acknowledged = [json.loads(first.stdout.readline()) for _ in range(100)]
    first.send_signal(signal.SIGINT)
    rest, told = first.communicate(timeout=100)
    acknowledged += printed(rest)

    again = start(stack, key, "submit", "--wait", file)
    output, summary = again.communicate(timeout=100)

    assert first.returncode == 130
    assert "the same command goes on from there" in told.decode()
    assert 100 <= len(acknowledged) < 600
    assert again.returncode == 0, summary
    assert len(printed(output)) == 600
    assert sorted(receipt["id"] for receipt in printed(output)) == sorted(stored(stack, key))
    assert f"known before  {len(acknowledged)}" in summary.decode()
    assert not list((tmp_path / "state").rglob("*.sqlite"))


def test_a_submission_outlives_the_api(own_stack: Stack, start: Start, tmp_path: Path) -> None:
    """So does whoever watches: both have everything once, the watcher in order."""
    file = tmp_path / "many.ndjson"
    file.write_bytes(lines(range(300)))
    key = own_stack.new_key("outlived")
    cursor = first_cursor(own_stack, key)
    watching = start(own_stack, key, "watch", "--after", cursor, "--limit", "301", "--state", tmp_path / "cursor")
    submitting = start(own_stack, key, "submit", file)
    assert submitting.stdout is not None
    acknowledged = [json.loads(submitting.stdout.readline()) for _ in range(100)]

    os.kill(own_stack.api_pid(), signal.SIGKILL)
    rest, told = submitting.communicate(timeout=100)
    eventually(own_stack.is_ready)
    last = start(own_stack, key, "submit", FIXTURE)
    last.communicate(timeout=100)
    output, _ = watching.communicate(timeout=100)

    assert submitting.returncode == 0, told
    *ids, _ = stored(own_stack, key)  # the newest first, so the one with the cursor is the last
    assert len(ids) == len(set(ids)) == 301
    assert len(acknowledged + printed(rest)) == 300
    seen = printed(output)
    assert sorted(result["id"] for result in seen) == sorted(ids)
    assert [result["computed_at"] for result in seen] == sorted(result["computed_at"] for result in seen)
    assert (tmp_path / "cursor").read_text() == seen[-1]["cursor"] + "\n"


def test_a_terminal_gets_a_summary_instead_of_json(stack: Stack, start: Start) -> None:
    """With the ids of a few samples, and a progress bar while it lasts."""
    terminal, side = os.openpty()
    ran = start(stack, stack.new_key("terminal"), "submit", "--wait", FIXTURE, stdout=side, stderr=side)
    os.close(side)
    shown = everything(terminal)

    assert ran.wait(100) == 0
    assert b"submitting" in shown
    assert b"fixture/sample.json  COMPUTED" in shown
    assert b"computed" in shown
    assert b"{" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["submit", "--url", "http://127.0.0.1:9", str(FIXTURE)], 3, "nothing answers at http://127.0.0.1:9"),
        (["submit", "--key", "dz_wrong", str(FIXTURE)], 4, "send a valid API key"),
        (["submit", "no such file"], 2, "there is no no such file"),
        (["watch", "--after", "no cursor"], 1, "expected a cursor"),
        (["watch", "--state", "nowhere/state"], 2, "there is no folder nowhere"),
        (["results", "--where", "mean.gte=nan"], 2, "expected a number, got nan"),
        (["results", "--url", "127.0.0.1:8000", "--key", ""], 2, "expected an address"),
        (["show", "--raw", ".."], 1, "there is no sample .."),
    ],
)
def test_errors_are_a_sentence_and_an_exit_code(
    stack: Stack, start: Start, arguments: list[str], code: int, said: str
) -> None:
    """No traceback, and nothing on standard output."""
    ran = start(stack, stack.key, *arguments)
    output, told = ran.communicate(timeout=100)

    assert ran.returncode == code
    assert said in told.decode()
    assert "Traceback" not in told.decode()
    assert output == b""
