"""`dropzone delete` and `Client.delete`."""

import json

import pytest

from dropzone import Client, NotFound, SampleFilter
from tests.client.conftest import Start
from tests.stack import Stack

SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}


def test_samples_are_deleted_by_ids_and_by_labels(stack: Stack, start: Start) -> None:
    """Without confirmation, the command deletes nothing."""
    key = stack.new_key("delete-command", "submit,read,admin")
    with Client(stack.url, key) as client:
        ids = [client.submit(SAMPLE, labels={"serial_number": number}).id for number in ("1", "2", "3")]
        list(client.wait(ids))

        unconfirmed = start(stack, key, "delete", ids[0])
        assert unconfirmed.wait(100) != 0
        confirmed = start(stack, key, "delete", ids[0], "--yes", "--reason", "wrong")
        by_label = start(stack, key, "delete", "--label", "serial_number=2", "--yes")
        without = start(stack, key, "delete", "--yes")

        assert json.loads(confirmed.communicate(timeout=100)[0]) == {"deleted": 1}
        assert json.loads(by_label.communicate(timeout=100)[0]) == {"deleted": 1}
        assert without.wait(100) == 2
        assert [sample.id for sample in client.samples()] == [ids[2]]
        assert client.delete(where=SampleFilter(labels={"serial_number": "3"})) == 1
        with pytest.raises(NotFound):
            client.sample(ids[2])
