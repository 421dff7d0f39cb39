"""Google Cloud sends events that were given up as messages of the dead-letter topic."""

import json
from base64 import b64encode
from typing import Any

import pytest

from storage.documents import Sample, document_paths, timestamps
from storage.firestore import encoding
from tests.triggers.machine import SECRET, Machine, event_body, event_headers
from tests.triggers.samples import new_sample

PROBLEM_START = "the function failed 5 times since "


def dead_letter(value: Any = None, *, path: str = "", body: bytes | None = None, **changes: str) -> bytes:
    """Return the request of a push subscription whose message is the event of `value`, after five attempts."""
    headers = event_headers(path or value.name.partition("/documents/")[2])
    attributes = {name: text for name, text in headers.items() if name.startswith("ce-")}
    attributes["content-type"] = headers["content-type"]
    attributes |= {
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "eventarc-europe-west1-on-sample-written-sub-042",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "dropzone-test",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-23T22:00:00.100+00:00",
    }
    data = event_body(value) if body is None else body
    message = {
        "attributes": attributes | {name.replace("_", "-"): text for name, text in changes.items()},
        "data": b64encode(data).decode(),
        "messageId": "9151520",
        "message_id": "9151520",
        "publishTime": "2026-11-23T22:30:00.000Z",
        "publish_time": "2026-11-23T22:30:00.000Z",
    }
    subscription = "projects/dropzone-test/subscriptions/dead-letters"
    return json.dumps({"message": message, "subscription": subscription, "deliveryAttempt": 1}).encode()


async def push(machine: Machine, body: bytes, token: str = SECRET) -> int:
    """Send a request as a push subscription does; return the HTTP status."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    return (await machine.http.post("/dead-letters", content=body, headers=headers)).status_code


async def stored(machine: Machine, submitter: str) -> tuple[Sample, Any]:
    """Store a sample; return it and its header."""
    sample = new_sample(submitter)
    return sample, await machine.store(sample)


async def test_the_sample_of_a_dead_letter_is_failed(machine: Machine, submitter: str) -> None:
    """The problem says how often it was tried, and since when."""
    sample, header = await stored(machine, submitter)

    assert await push(machine, dead_letter(header)) == 204

    result = (await machine.result(sample)).to_dict()
    assert (result["status"], result["problem"]["code"]) == ("FAILED", "GIVEN_UP")
    assert result["problem"]["message"].startswith(PROBLEM_START + timestamps.to_text(result["sample_update_time"]))
    assert result["sample_update_time"] == encoding.to_datetime(header.update_time)
    assert result["submitted_at"] == encoding.to_datetime(header.fields["submitted_at"].timestamp_value)


async def test_a_dead_letter_without_a_body_names_its_sample_by_an_attribute(machine: Machine, submitter: str) -> None:
    """Eventarc omits bodies that are too large."""
    sample, header = await stored(machine, submitter)
    path = document_paths.sample(submitter, sample.header.id)
    time = encoding.to_datetime(header.update_time).isoformat()

    assert await push(machine, dead_letter(path=path, body=b"", ce_time=time)) == 204

    assert (await machine.result(sample)).get("problem.code") == "GIVEN_UP"


async def test_a_dead_letter_never_replaces_a_result(machine: Machine, submitter: str) -> None:
    """The function stored it, but its acknowledgement was lost. A dead letter can also arrive twice."""
    sample, header = await stored(machine, submitter)
    await machine.deliver(header)
    before = await machine.result(sample)

    assert await push(machine, dead_letter(header)) == 204

    assert (await machine.result(sample)).update_time == before.update_time


async def test_recomputing_replaces_the_result_of_a_dead_letter(machine: Machine, submitter: str) -> None:
    """A recomputation changes the header, and the event of this change is newer than the dead letter."""
    sample, header = await stored(machine, submitter)
    await push(machine, dead_letter(header))

    assert await machine.deliver(await machine.touch(header)) == 200
    assert (await machine.result(sample)).get("status") == "COMPUTED"
    assert await push(machine, dead_letter(header)) == 204
    assert (await machine.result(sample)).get("status") == "COMPUTED"


async def test_a_dead_letter_of_a_deletion_is_ignored(machine: Machine, submitter: str) -> None:
    """A result without a sample helps no client."""
    sample, header = await stored(machine, submitter)

    assert await push(machine, dead_letter(header, body=event_body(old_value=header))) == 204
    assert not (await machine.result(sample)).exists


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"message": {"data": "?"}}', b'{"message": {"data": ""}}', dead_letter(path="a/b", body=b"")],
    ids=["empty", "list", "no message", "not base64", "no attributes", "another document"],
)
async def test_a_message_that_names_no_sample_is_logged_and_not_sent_again(machine: Machine, body: bytes) -> None:
    """A retry cannot change it."""
    before = machine.function.log.read_text().count("dead letter: ignored")

    assert await push(machine, body) == 204
    assert machine.function.log.read_text().count("dead letter: ignored") == before + 1


async def test_a_dead_letter_needs_the_token_of_events(machine: Machine, submitter: str) -> None:
    """Otherwise any program could fail the samples of others."""
    sample, header = await stored(machine, submitter)

    assert await push(machine, dead_letter(header), token="x" * 40) == 401
    assert not (await machine.result(sample)).exists
