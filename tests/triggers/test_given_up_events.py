"""A sample whose event was given up is FAILED, unless there is something better to say."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from storage.documents import Sample, Tombstone, document_paths
from storage.firestore import encoding
from tests.received import received_sample
from tests.triggers.machine import Machine, event_headers
from tests.triggers.samples import new_sample

PROBLEM = "no response: the connection was closed"


async def give_up(machine: Machine, value: Any, problem: str = PROBLEM) -> int:
    """Tell the function that the event of a header was given up; return the HTTP status."""
    path = value.name.partition("/documents/")[2]
    attributes = {
        "ce-time": encoding.to_datetime(value.update_time).isoformat(),
        "ce-givenup": "true",
        "ce-attempts": "12",
        "ce-problem": quote(problem),
    }
    return (await machine.http.post("/", content=b"", headers=event_headers(path) | attributes)).status_code


async def stored(machine: Machine, submitter: str) -> tuple[Sample, Any]:
    """Store a sample; return it and its header."""
    sample = new_sample(submitter)
    return sample, await machine.store(sample)


async def test_a_sample_whose_event_was_given_up_is_failed(machine: Machine, submitter: str) -> None:
    """The problem says how often it was tried, and why it failed."""
    sample, header = await stored(machine, submitter)

    assert await give_up(machine, header) == 200

    result = (await machine.result(sample)).to_dict()
    assert (result["status"], result["problem"]["code"]) == ("FAILED", "GIVEN_UP")
    assert "failed 12 times" in result["problem"]["message"]
    assert result["problem"]["message"].endswith(PROBLEM)
    assert result["sample_update_time"] == encoding.to_datetime(header.update_time)


async def test_a_rejected_sample_stays_rejected(machine: Machine, submitter: str) -> None:
    """A result would be counted as a FAILED sample."""
    sample = received_sample(b'{"time_stamp": "never", "data": [1]}', submitter=submitter)

    assert await give_up(machine, await machine.store(sample)) == 200

    assert not (await machine.result(sample)).exists


async def test_the_result_has_the_labels_of_the_sample(machine: Machine, submitter: str) -> None:
    """Otherwise the sample would be missing in lists of its series."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "labels": {"site": "roof"}}'
    sample = received_sample(raw, submitter=submitter)

    await give_up(machine, await machine.store(sample))

    assert (await machine.result(sample)).get("labels") == {"site": "roof"}


async def test_the_event_may_still_succeed(machine: Machine, submitter: str) -> None:
    """An operator resends a dead letter, or a late attempt ends after the notice."""
    sample, header = await stored(machine, submitter)
    await give_up(machine, header)

    assert await machine.deliver(header) == 200
    assert (await machine.result(sample)).get("status") == "COMPUTED"


async def test_a_notice_never_replaces_a_result(machine: Machine, submitter: str) -> None:
    """The function stored it, but its acknowledgement was lost. A notice that is repeated writes nothing either."""
    sample, header = await stored(machine, submitter)
    await machine.deliver(header)
    before = await machine.result(sample)
    other, other_header = await stored(machine, submitter)
    await give_up(machine, other_header)
    first = await machine.result(other)

    assert await give_up(machine, header) == 200
    assert await give_up(machine, other_header) == 200

    assert (await machine.result(sample)).update_time == before.update_time
    assert (await machine.result(other)).update_time == first.update_time


async def test_a_recomputation_that_was_given_up_leaves_the_result(machine: Machine, submitter: str) -> None:
    """The statistics of the earlier event are still those of the sample."""
    sample, header = await stored(machine, submitter)
    await machine.deliver(header)
    before = await machine.result(sample)

    assert await give_up(machine, await machine.touch(header)) == 200

    assert (await machine.result(sample)).update_time == before.update_time


async def test_a_correction_that_was_given_up_removes_the_result_of_the_earlier_sample(
    machine: Machine, submitter: str
) -> None:
    """Lists would contain the results of both samples. A recomputation restores the statistics."""
    sample, header = await stored(machine, submitter)
    await machine.deliver(header)
    path = document_paths.sample(submitter, sample.header.id)
    await machine.client.document(path).update({"superseded_by": "another"})
    corrected = await machine.get(path)

    assert await give_up(machine, corrected) == 200

    given_up = (await machine.result(sample)).to_dict()
    assert (given_up["status"], given_up["superseded_by"]) == ("FAILED", "another")
    assert await machine.deliver(await machine.touch(corrected)) == 200
    assert (await machine.result(sample)).get("status") == "SUPERSEDED"
    assert await give_up(machine, await machine.touch(corrected)) == 200
    assert (await machine.result(sample)).get("status") == "SUPERSEDED"


async def test_the_event_of_a_later_change_replaces_the_result_of_a_notice(machine: Machine, submitter: str) -> None:
    """Until then the sample is FAILED. If that event is lost, it is not PENDING forever."""
    sample, header = await stored(machine, submitter)
    touched = await machine.touch(header)

    assert await give_up(machine, header) == 200
    assert (await machine.result(sample)).get("status") == "FAILED"
    assert await machine.deliver(touched) == 200
    assert (await machine.result(sample)).get("status") == "COMPUTED"


async def test_a_notice_does_not_replace_the_result_of_a_later_change(machine: Machine, submitter: str) -> None:
    """Events arrive in any order."""
    sample, header = await stored(machine, submitter)
    await machine.deliver(await machine.touch(header))

    assert await give_up(machine, header) == 200
    assert (await machine.result(sample)).get("status") == "COMPUTED"


async def test_a_notice_about_a_deleted_sample_is_ignored(machine: Machine, submitter: str) -> None:
    """A result without a sample helps no client."""
    sample, header = await stored(machine, submitter)
    await machine.client.document(document_paths.sample(submitter, sample.header.id)).delete()

    assert await give_up(machine, header) == 200
    assert not (await machine.result(sample)).exists


async def test_control_characters_of_a_problem_are_escaped(machine: Machine, submitter: str) -> None:
    """They are shown to people on terminals."""
    sample, header = await stored(machine, submitter)

    await give_up(machine, header, "one\x1b[31m\ntwo\u202e")

    message = (await machine.result(sample)).get("problem")["message"]
    assert message.endswith(r"one\x1b[31m\ntwo\u202e")


async def test_a_sample_that_was_submitted_again_is_failed(machine: Machine, submitter: str) -> None:
    """The tombstone of the earlier sample with the same idempotency key does not count as a result."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "idempotency_key": "again"}'
    sample = received_sample(raw, submitter=submitter)
    earlier = await machine.store(sample)
    await machine.deliver(earlier)
    deleted_at = encoding.to_datetime(earlier.update_time) + timedelta(milliseconds=1)
    tombstone = Tombstone(submitter, sample.header.id, sample.header.sha256, 0, deleted_at, "wrong")
    await machine.put(document_paths.result(submitter, sample.header.id), tombstone.fields())
    await machine.client.document(document_paths.sample(submitter, sample.header.id)).delete()
    header = await machine.store(sample)
    assert encoding.to_datetime(header.update_time) > deleted_at

    assert await give_up(machine, header) == 200

    assert (await machine.result(sample)).get("problem")["code"] == "GIVEN_UP"
