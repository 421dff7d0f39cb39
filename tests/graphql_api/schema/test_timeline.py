"""The timeline of a sample: what happened to it, in order."""

import uuid
from datetime import UTC, datetime
from typing import Any

from storage.documents import document_paths
from tests.stack import Stack

SAMPLE = "query ($id: ID!) { sample(id: $id) { submittedAt timeline { at event detail } } }"


def timeline(stack: Stack, key: str, sample_id: str) -> Any:
    """Return the timeline of a sample; its times rise."""
    entries = stack.graphql(SAMPLE, {"id": sample_id}, key=key)["sample"]["timeline"]
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    return [(entry["event"], entry["detail"]) for entry in entries]


def test_a_sample_is_stored_fails_is_requested_again_and_is_computed(stack: Stack) -> None:
    """Failed attempts are listed until there is a result."""
    submitter = f"timeline-{uuid.uuid4().hex[:8]}"
    key, firestore = stack.new_key(submitter), stack.firestore()
    sample_id = stack.submit_fixture(key=key)["id"]
    stack.wait_for(sample_id, key=key)
    computed = timeline(stack, key, sample_id)

    result = firestore.document(document_paths.result(submitter, sample_id))
    attempts = firestore.document(document_paths.failed_attempts(submitter, sample_id))
    attempts.set({"attempts": 4, "problem": "500 Internal Server Error"})
    result.delete()
    failing = timeline(stack, key, sample_id)
    header = firestore.document(document_paths.sample(submitter, sample_id))
    header.update({"recompute_requested_at": datetime.now(UTC)})
    stack.wait_for(sample_id, key=key)

    assert computed == [("STORED", None), ("COMPUTED", None)]
    assert failing == [
        ("STORED", None),
        ("ATTEMPTS_FAILED", "4 failed attempts; the last problem: 500 Internal Server Error"),
    ]
    assert timeline(stack, key, sample_id) == [("STORED", None), ("RECOMPUTATION_REQUESTED", None), ("COMPUTED", None)]


def test_a_rejected_sample_has_one_entry_with_its_problem(stack: Stack) -> None:
    """It is never computed."""
    receipt = stack.submit({"time_stamp": "2019-05-01T06:00:00Z", "data": []})

    ((event, detail),) = timeline(stack, stack.key, receipt["id"])

    assert event == "REJECTED"
    assert detail == receipt["problems"][0]["message"]


def test_a_superseded_sample_was_computed(stack: Stack) -> None:
    """The function has written its statistics again, with the id of the correction."""
    submitter = f"timeline-{uuid.uuid4().hex[:8]}"
    key = stack.new_key(submitter)
    sample_id = stack.submit_fixture(key=key)["id"]
    correct = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"
    stack.graphql(correct, {"sample": {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}, "id": sample_id}, key=key)
    stack.wait_for(sample_id, "SUPERSEDED", key=key)

    assert timeline(stack, key, sample_id) == [("STORED", None), ("COMPUTED", None)]
