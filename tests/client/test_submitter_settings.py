"""`dropzone retention` and `dropzone missing-values`, and the methods of the client."""

import json
import os
import signal
import subprocess
from datetime import timedelta
from functools import partial

import pytest

from dropzone import BadRequest, Client, HourlyRetention, Retention
from tests.client.conftest import Start, output_of, run
from tests.stack import Stack


def test_a_change_is_confirmed_and_changes_only_what_is_given(stack: Stack, start: Start) -> None:
    """Without a confirmation, nothing changes."""
    key = stack.new_key("retention-command", "submit,read,admin")

    declined = start(stack, key, "retention", "--samples", "9", stdin=subprocess.PIPE)
    _, question = declined.communicate(b"n\n", timeout=100)
    output = output_of(stack, key, "retention", "--samples", "9", "--yes")

    assert b"From now on, submitted samples are deleted after 9 days and their results are kept forever" in question
    assert declined.returncode == 1
    assert json.loads(output) == {"sample_days": 9, "result_days": None, "is_default": False, "hourly": None}
    with Client(stack.url, key) as client:
        assert client.retention() == Retention(9)
        assert client.set_retention(Retention(9, 30)) == Retention(9, 30)
        sample = client.sample(client.submit({"time_stamp": "never", "data": [1]}).id)
        assert sample.expires_at is not None
        assert abs(sample.expires_at - sample.submitted_at - timedelta(days=9)) < timedelta(hours=1)
        assert client.set_retention(None) == Retention(is_default=True)


def test_a_question_without_an_input_is_declined(stack: Stack, start: Start) -> None:
    """The standard input is closed, as after `<&-`. The command printed a traceback."""
    key = stack.new_key("closed-question", "submit,read,admin")

    asking = start(stack, key, "retention", "--samples", "9", stdin=None, preexec_fn=partial(os.close, 0))
    _, errors = asking.communicate(timeout=100)

    assert asking.returncode == 1
    assert b"Traceback" not in errors
    with Client(stack.url, key) as client:
        assert client.retention().is_default


@pytest.mark.parametrize("command", [["retention", "--samples", "7"], ["delete", "--state", "REJECTED"]])
def test_ctrl_c_at_a_question_ends_the_command(stack: Stack, start: Start, command: list[str]) -> None:
    """An answer after it changes nothing."""
    key = stack.new_key("interrupted-question", "submit,read,admin")
    with Client(stack.url, key) as client:
        rejected = client.submit({"time_stamp": "never", "data": [1]})
        asking = start(stack, key, *command, stdin=subprocess.PIPE)
        assert asking.stderr is not None
        question = b""
        while b"[y/N]" not in question:
            question += asking.stderr.read(1)

        asking.send_signal(signal.SIGINT)

        assert asking.wait(100) == 130
        assert client.retention() == Retention(is_default=True)
        assert client.sample(rejected.id).id == rejected.id


def test_hourly_statistics_are_kept_and_turned_off_by_the_command(stack: Stack, start: Start) -> None:
    """The server refuses hourly statistics of results that never expire, and says what to do."""
    key = stack.new_key("hourly-command", "submit,read,admin")

    options = ("--samples", "9", "--results", "30", "--hourly", "forever")
    confirmed = start(stack, key, "retention", *options, stdin=subprocess.PIPE)
    output, question = confirmed.communicate(b"y\n", timeout=100)
    assert confirmed.returncode == 0
    assert b"after 30 days, but their hourly statistics are kept forever. Continue?" in question
    assert json.loads(output)["hourly"] == {"days": None}
    with Client(stack.url, key) as client:
        assert client.retention() == Retention(9, 30, hourly=HourlyRetention())
        assert client.set_retention(Retention(9, 30, hourly=HourlyRetention(60))).hourly == HourlyRetention(60)
        with pytest.raises(BadRequest, match="kept longer than results"):
            client.set_retention(Retention(9, 30, hourly=HourlyRetention(30)))

    refused = run(stack, key, "retention", "--results", "forever", "--yes")
    assert refused.exit_code != 0
    assert "expected a number of days at `resultDays`, or no value at `hourly`" in refused.stderr
    turned_off = output_of(stack, key, "retention", "--results", "forever", "--hourly", "off", "--yes")
    assert json.loads(turned_off)["hourly"] is None
    wrong = run(stack, key, "retention", "--hourly", "never")
    assert wrong.exit_code == 2
    assert "forever" in wrong.stderr
    assert "off" in wrong.stderr


@pytest.mark.parametrize("days", ["٣", "\uff13", "1_0", "0", "-1", "9" * 10, "9" * 5_000])
def test_a_number_of_days_has_ascii_digits(stack: Stack, days: str) -> None:
    """The command accepted Arabic digits, and printed a traceback for 5,000 digits."""
    refused = run(stack, "unused", "retention", f"--samples={days}", "--yes")

    assert refused.exit_code == 2
    assert "expected a number of days from 1, or" in refused.stderr


def test_missing_values_of_a_submitter_are_skipped(stack: Stack, start: Start) -> None:
    """Small and large samples need no member for it. The values of a sample are then without nulls."""
    key = stack.new_key("missing-command", "submit,read,admin")
    small, large = ({"time_stamp": "2026-05-01T00:00:00Z", "data": [1, None, *[3] * count]} for count in (1, 200_000))
    with Client(stack.url, key) as client:
        problem = client.submit(small, idempotency_key="problem")
        changed = start(stack, key, "missing-values", "skip")
        assert json.loads(changed.communicate(timeout=100)[0]) == {"missing_values": "skip"}
        assert client.skips_missing_values()
        receipts = [client.submit(small), client.submit(large)]
        found = [client.sample(settled.id) for settled in client.wait([receipt.id for receipt in receipts])]
        values = stack.graphql("query ($id: ID!) { sample(id: $id) { data } }", {"id": receipts[0].id}, key=key)
        client.skip_missing_values(False)
        assert json.loads(output_of(stack, key, "missing-values", "reject")) == {"missing_values": "reject"}
        problem_again = client.submit(small, idempotency_key="again")

    assert [problem.state, problem_again.state] == ["REJECTED", "REJECTED"]
    assert sorted((each.state, each.missing_count, each.result and each.result.count) for each in found) == [
        ("COMPUTED", 1, 2),
        ("COMPUTED", 1, 200_001),
    ]
    assert values["sample"]["data"] == [1, 3]
