"""`dropzone delete`, `Client.delete`, and what reports deleted and superseded samples."""

import json
import re
from itertools import islice
from pathlib import Path
from threading import Thread

import pytest

from dropzone import Client, NotFound, RemovalEdge, SampleFilter, SampleState
from tests.client.conftest import Start, output_of, run
from tests.stack import Stack, eventually

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}


def test_samples_are_deleted_by_ids_and_by_labels(stack: Stack, start: Start) -> None:
    """Without confirmation, the command deletes nothing."""
    key = stack.new_key("delete-command", "submit,read,admin")
    with Client(stack.url, key) as client:
        ids = [client.submit(SAMPLE, labels={"serial_number": number}).id for number in ("1", "2", "3")]
        list(client.wait(ids))

        unconfirmed = start(stack, key, "delete", ids[0])
        assert b"Delete 1 sample and its result?" in unconfirmed.communicate(timeout=100)[1]
        assert unconfirmed.returncode == 1
        confirmed = output_of(stack, key, "delete", ids[0], "--yes", "--reason", "wrong")
        by_label = output_of(stack, key, "delete", "--label", "serial_number=2", "--yes")
        by_state = output_of(stack, key, "delete", "--state", "rejected", "--yes")

        assert [json.loads(each) for each in (confirmed, by_label, by_state)] == [
            {"deleted": 1},
            {"deleted": 1},
            {"deleted": 0},
        ]
        for arguments, got in (((), "neither"), ((ids[0], "--label", "site=a"), "both")):
            refused = run(stack, key, "delete", *arguments, "--yes")
            assert refused.exit_code == 2
            assert got in refused.stderr
        assert [sample.id for sample in client.samples()] == [ids[2]]
        assert client.delete(where=SampleFilter(labels={"serial_number": "3"})) == 1
        with pytest.raises(NotFound):
            client.sample(ids[2])


def test_an_id_without_a_sample_is_reported(stack: Stack) -> None:
    """The other samples are deleted. An id that is given twice counts once."""
    key = stack.new_key("delete-unknown", "submit,read,admin")
    sample_id = stack.submit(SAMPLE, key=key)["id"]

    ran = run(stack, key, "delete", sample_id, "mistyped", "mistyped", "--yes")

    assert json.loads(ran.stdout) == {"deleted": 1}
    assert ran.stderr == "error: not found, or deleted already: 1 of 2 samples\n"
    assert ran.exit_code == 1


def test_removals_are_watched(stack: Stack, tmp_path: Path) -> None:
    """The client and the command yield deleted and superseded samples in order. The command resumes at the last one."""
    key = stack.new_key("watched-removals", "submit,read,admin")
    with Client(stack.url, key) as client:
        wrong, unwanted, kept = (client.submit({**SAMPLE, "data": [number]}).id for number in range(3))
        list(client.wait([wrong, unwanted, kept]))
        cursor = client.newest_cursor()
        correction = client.submit(SAMPLE, supersedes=wrong).id
        eventually(lambda: client.sample(wrong).state is SampleState.SUPERSEDED)
        client.delete([unwanted], reason="moved")

        watched = [edge.removal for edge in islice(client.removals(cursor), 2)]
        state = tmp_path / "state"
        state.write_text(cursor or "")
        command = ("watch", "--removals", "-n", "1", "--cursor-file", state)
        lines = [json.loads(output_of(stack, key, *command)) for _ in watched]
        refused = run(stack, key, "watch", "--removals", "--label", "site=bern")

    assert [(each.id, each.superseded_by, each.reason) for each in watched] == [
        (wrong, correction, ""),
        (unwanted, None, "moved"),
    ]
    assert [(line["id"], line["superseded_by"], line["reason"]) for line in lines] == [
        (each.id, each.superseded_by, each.reason) for each in watched
    ]
    assert "cannot be combined with --where or --label" in refused.stderr


def test_removals_are_watched_from_the_start(stack: Stack, tmp_path: Path) -> None:
    """The cursor file is from an earlier run without results. Removals between the two runs are printed."""
    key = stack.new_key("removals-from-the-start", "submit,read,admin")
    state = tmp_path / "state"
    state.write_text("start\n")
    with Client(stack.url, key) as client:
        ids = [client.submit({"time_stamp": text, "data": []}).id for text in ("never", "always")]
        for sample_id in ids:
            client.delete([sample_id])

        lines = output_of(stack, key, "watch", "--removals", "-n", "2", "--cursor-file", state).splitlines()
        watched = [edge.removal.id for edge in islice(client.removals(after=""), 2)]

    assert [json.loads(line)["id"] for line in lines] == watched == ids


def test_a_correction_can_restore_earlier_values(stack: Stack) -> None:
    """The content was submitted before, but the correction is a new sample. A repetition is not."""
    with Client(stack.url, stack.new_key("corrects-back")) as client:
        first = client.submit(SAMPLE).id
        second = client.submit({**SAMPLE, "data": [7]}, supersedes=first).id
        third = client.submit(SAMPLE, supersedes=second).id
        repeated = client.submit(SAMPLE, supersedes=second).id
        list(client.wait([third]))
        eventually(lambda: {client.sample(each).state for each in (first, second)} == {SampleState.SUPERSEDED})

        assert repeated == third
        assert len({first, second, third}) == 3
        assert [result.id for result in client.results()] == [third]


def test_a_removal_is_received_before_any_result_exists(stack: Stack) -> None:
    """The stream has no cursor of a result, so it starts with the first removal."""
    with Client(stack.url, stack.new_key("removals-without-results", "submit,read,admin")) as client:
        received: list[RemovalEdge] = []
        watching = Thread(target=lambda: received.append(next(client.removals())))
        watching.start()
        while watching.is_alive():  # until the subscription has started
            sample_id = client.submit({"time_stamp": "never", "data": []}).id
            client.delete([sample_id], reason="rejected")
            watching.join(0.2)

    assert received[0].removal.reason == "rejected"


@pytest.mark.parametrize(
    ("option", "reason", "shown"),
    [([], "wrong sensor", "wrong sensor"), (["--json"], "", "no reason was given"), (["--raw"], "moved", "moved")],
)
def test_show_says_when_and_why_a_sample_was_deleted(stack: Stack, option: list[str], reason: str, shown: str) -> None:
    """The server keeps both. A sample that never existed has the same exit code."""
    key = stack.new_key("show-deleted", "submit,read,admin")
    with Client(stack.url, key) as client:
        sample_id = client.submit(SAMPLE).id
        list(client.wait([sample_id]))
        client.delete([sample_id], reason=reason)

    deleted = run(stack, key, "show", sample_id, *option)
    unknown = run(stack, key, "show", "00000000-0000-4000-8000-000000000000", *option)

    assert re.fullmatch(rf"error: sample {sample_id} was deleted at {TIME}: {shown}\n", deleted.stderr)
    assert "does not exist" in unknown.stderr
    assert deleted.exit_code == unknown.exit_code == 1
