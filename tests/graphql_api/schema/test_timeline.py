"""The timeline of a sample: what happened to it, in order."""

import uuid
from datetime import UTC, datetime
from typing import Any

from google.cloud.firestore import DELETE_FIELD

from storage.documents import document_paths
from tests.stack import Stack, eventually

CORRECT = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"
RECOMPUTE = "mutation ($ids: [ID!]) { recompute(ids: $ids) { id } }"
COMPUTED_AT = "query ($id: ID!) { result(id: $id) { computedAt firstComputedAt } }"
STATE = "query ($id: ID!) { recomputation(id: $id) { state } }"
SAMPLE = "query ($id: ID!) { sample(id: $id) { submittedAt timeline { at event detail } } }"


def timeline(stack: Stack, key: str, sample_id: str) -> Any:
    """Return the timeline of a sample; its times rise."""
    entries = stack.graphql(SAMPLE, {"id": sample_id}, key=key)["sample"]["timeline"]
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    return [(entry["event"], entry["detail"]) for entry in entries]


def time_of(stack: Stack, key: str, sample_id: str, event: str) -> str:
    """Return the time of the event of a sample."""
    entries = stack.graphql(SAMPLE, {"id": sample_id}, key=key)["sample"]["timeline"]
    [at] = [entry["at"] for entry in entries if entry["event"] == event]
    return str(at)


def computed_at(stack: Stack, key: str, sample_id: str, field: str = "computedAt") -> str:
    """Return the time of the stored result, or with `firstComputedAt`, of the first result."""
    return str(stack.graphql(COMPUTED_AT, {"id": sample_id}, key=key)["result"][field])


def correct(stack: Stack, key: str, sample_id: str) -> str:
    """Correct a sample. Wait until it is superseded, and return the id of the correction."""
    right = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}
    correction = stack.graphql(CORRECT, {"sample": right, "id": sample_id}, key=key)["submit"]["id"]
    stack.wait_for(sample_id, "SUPERSEDED", key=key)
    return str(correction)


def recompute(stack: Stack, key: str, sample_id: str) -> str:
    """Request the computation of a sample again. Return the time of the new result when the recomputation has ended."""
    running = stack.graphql(RECOMPUTE, {"ids": [sample_id]}, key=key)["recompute"]["id"]
    eventually(lambda: stack.graphql(STATE, {"id": running}, key=key)["recomputation"]["state"] == "FINISHED")
    return computed_at(stack, key, sample_id)


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


def test_a_corrected_sample_shows_when_it_was_computed_and_what_superseded_it(stack: Stack) -> None:
    """The function writes the statistics again, with the id of the correction. The first time of computation stays."""
    submitter = f"timeline-{uuid.uuid4().hex[:8]}"
    key = stack.new_key(submitter)
    sample_id = stack.submit_fixture(key=key)["id"]
    stack.wait_for(sample_id, key=key)
    first = computed_at(stack, key, sample_id)

    correction = correct(stack, key, sample_id)

    assert timeline(stack, key, sample_id) == [("STORED", None), ("COMPUTED", None), ("SUPERSEDED", correction)]
    assert time_of(stack, key, sample_id, "COMPUTED") == first


def test_a_recomputed_sample_shows_its_first_and_its_last_computation(stack: Stack) -> None:
    """Each computation replaces the result, which keeps the time of the first one. A correction replaces it too."""
    submitter = f"timeline-{uuid.uuid4().hex[:8]}"
    key = stack.new_key(submitter, "submit,read,admin")
    sample_id = stack.submit_fixture(key=key)["id"]
    stack.wait_for(sample_id, key=key)
    first = computed_at(stack, key, sample_id)
    first_before = computed_at(stack, key, sample_id, "firstComputedAt")

    _, last = (recompute(stack, key, sample_id) for _ in range(2))
    recomputed = timeline(stack, key, sample_id)
    times = [time_of(stack, key, sample_id, event) for event in ("COMPUTED", "RECOMPUTED")]
    correction = correct(stack, key, sample_id)

    assert recomputed == [("STORED", None), ("COMPUTED", None), ("RECOMPUTATION_REQUESTED", None), ("RECOMPUTED", None)]
    assert times == [first, last]
    assert first_before == computed_at(stack, key, sample_id, "firstComputedAt") == first
    assert timeline(stack, key, sample_id) == [*recomputed[:3], ("SUPERSEDED", correction)]
    assert time_of(stack, key, sample_id, "COMPUTED") == first


def test_a_correction_of_an_earlier_release_has_the_time_of_its_result(stack: Stack) -> None:
    """The header did not say since when the sample was superseded, and the result not when it was first computed."""
    submitter = f"timeline-{uuid.uuid4().hex[:8]}"
    key, firestore = stack.new_key(submitter), stack.firestore()
    sample_id = stack.submit_fixture(key=key)["id"]
    stack.wait_for(sample_id, key=key)
    correction = correct(stack, key, sample_id)
    result = firestore.document(document_paths.result(submitter, sample_id))
    result.update({"first_computed_at": DELETE_FIELD})

    firestore.document(document_paths.sample(submitter, sample_id)).update({"superseded_at": DELETE_FIELD})

    assert timeline(stack, key, sample_id) == [("STORED", None), ("COMPUTED", None), ("SUPERSEDED", correction)]


def test_the_correction_of_a_rejected_sample_is_listed(stack: Stack) -> None:
    """The sample stays REJECTED."""
    key = stack.new_key("timeline-of-rejected")
    rejected = stack.submit({"data": []}, key=key)["id"]
    right = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}
    correction = stack.graphql(CORRECT, {"sample": right, "id": rejected}, key=key)["submit"]["id"]

    [(event, _), last] = timeline(stack, key, rejected)

    assert (event, last) == ("REJECTED", ("SUPERSEDED", correction))
    assert stack.sample(rejected, key=key)["state"] == "REJECTED"
