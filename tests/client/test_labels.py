"""Labels in the client and in the command: given with a submission, and used as a filter."""

import json

import pytest

from dropzone import Client, ResultFilter, SampleFilter, UnusableSample
from tests.client.conftest import Start
from tests.stack import FIXTURE, Stack

SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}


def test_equal_samples_of_two_sensors_are_two_samples(stack: Stack) -> None:
    """The idempotency key depends on the labels, so neither sensor loses its sample."""
    with Client(stack.url, stack.new_key("two-sensors")) as client:
        receipts = [client.submit(SAMPLE, labels={"serial_number": number}) for number in ("1", "2", "1")]
        settled = list(client.wait({receipt.id for receipt in receipts}))
        (result,) = client.results(ResultFilter(labels={"serial_number": "2"}))
        (sample,) = client.samples(SampleFilter(labels={"serial_number": "2"}))

    assert receipts[0].id == receipts[2].id != receipts[1].id
    assert len(settled) == 2
    assert result.labels == sample.labels == receipts[1].labels == {"serial_number": "2"}
    assert result.id == sample.id == receipts[1].id


@pytest.mark.parametrize("label", [{"Site": "a"}, {"site\n": "a"}, {"site": "a\r\nx-api-key: b"}])
def test_a_label_that_no_header_can_hold_is_refused(stack: Stack, label: dict[str, str]) -> None:
    """It cannot add a header to the request."""
    with Client(stack.url, stack.key) as client, pytest.raises(UnusableSample):
        client.submit(SAMPLE, labels=label)


def test_the_command_submits_and_filters_with_labels(stack: Stack, start: Start) -> None:
    """`--label` can be repeated."""
    key = stack.new_key("labelled-command")
    options = ("--label", "site=zürich", "--label", "unit=V")

    submitted = start(stack, key, "submit", "--wait", *options, FIXTURE).communicate(timeout=100)[0]
    found = start(stack, key, "results", "--label", "site=zürich").communicate(timeout=100)[0]
    missing = start(stack, key, "results", "--label", "site=bern").communicate(timeout=100)[0]
    wrong = start(stack, key, "results", "--label", "site")

    assert json.loads(found)["id"] == json.loads(submitted)["id"]
    assert json.loads(found)["labels"] == {"site": "zürich", "unit": "V"}
    assert missing == b""
    assert b"expected NAME=VALUE, got site" in wrong.communicate(timeout=100)[1]
