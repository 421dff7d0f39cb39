"""`GET /results/{id}`: a client without GraphQL learns the state of its sample, why it failed, and its result."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.stack import Stack, eventually

SAMPLE = b"""{"time_stamp": "2019-05-01T06:00:00-04:00", "data": [1, 2, null], "missing": "skip",
    "labels": {"site": "one-result", "unit": "V"}}"""

Outcome = Callable[[str], Any]


@pytest.fixture
def outcome(stack: Stack) -> Outcome:
    """Return the body of a successful response."""

    def outcome(sample_id: str) -> Any:
        response = stack.get(f"/results/{sample_id}")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        return response.json()

    return outcome


def wait_for(outcome: Outcome, sample_id: str, state: str) -> Any:
    """Repeat the request until the sample is in this state."""
    return eventually(lambda: (found := outcome(sample_id))["state"] == state and found)


def test_a_computed_sample_has_the_line_of_the_export(stack: Stack, outcome: Outcome) -> None:
    """The other members are those of the receipt."""
    receipt = stack.post_sample(SAMPLE).json()

    computed = wait_for(outcome, receipt["id"], "COMPUTED")

    lines = [json.loads(line) for line in stack.get("/results?label.site=one-result").text.splitlines()]
    (line,) = [line for line in lines if line["id"] == receipt["id"]]
    assert computed == receipt | {"state": "COMPUTED", "result": line}
    assert list(computed["result"]) == list(line)
    assert (line["mean"], line["missing_count"], line["timestamp"]) == (1.5, 1, "2019-05-01T10:00:00Z")


def test_a_rejected_sample_has_its_problems(stack: Stack, outcome: Outcome) -> None:
    """They are those of the receipt."""
    receipt = stack.post_sample(b'{"time_stamp": "2019-05-01T06:00:00", "data": [1, true]}').json()

    assert outcome(receipt["id"]) == receipt | {"result": None}
    assert len(receipt["problems"]) == 2


def test_a_sample_without_a_result_is_pending_or_failed(stack: Stack, outcome: Outcome) -> None:
    """A problem of the function has the same form as a problem of the sample."""
    sample_id = stack.post_sample(SAMPLE).json()["id"]
    computed = wait_for(outcome, sample_id, "COMPUTED")
    result = stack.firestore().document(f"submitters/local/results/{sample_id}")
    fields = result.get().to_dict() or {}
    problem = {"path": "$", "message": "the function failed", "code": "GIVEN_UP"}

    result.delete()
    assert outcome(sample_id) == computed | {"state": "PENDING", "result": None}
    result.set(fields | {"status": "FAILED", "problem": problem})
    assert outcome(sample_id) == computed | {"state": "FAILED", "problems": [problem], "result": None}


def test_a_result_that_is_kept_longer_than_its_sample_is_returned(stack: Stack, outcome: Outcome) -> None:
    """Samples can expire earlier than results."""
    sample_id = stack.post_sample(SAMPLE).json()["id"]
    computed = wait_for(outcome, sample_id, "COMPUTED")

    stack.firestore().document(f"submitters/local/samples/{sample_id}").delete()

    assert outcome(sample_id) == computed


def test_a_corrected_sample_names_its_correction(stack: Stack, outcome: Outcome) -> None:
    """The earlier result can still be read."""
    earlier = stack.post_sample(SAMPLE).json()["id"]
    before = wait_for(outcome, earlier, "COMPUTED")["result"]

    later = stack.post_sample(SAMPLE.replace(b"[1,", b"[3,"), x_supersedes=earlier).json()["id"]

    superseded = wait_for(outcome, earlier, "SUPERSEDED")
    assert superseded["superseded_by"] == later
    assert superseded["result"]["mean"] == before["mean"]


def test_a_missing_sample_is_not_found(stack: Stack, outcome: Outcome) -> None:
    """The message says whether the sample was deleted. A sample of another submitter does not exist for the caller."""
    sample_id = stack.post_sample(SAMPLE).json()["id"]
    wait_for(outcome, sample_id, "COMPUTED")
    other = stack.new_key("another-reader")
    refused = [stack.get(f"/results/{sample_id}", **{"x-api-key": other})]
    refused += [stack.get(f"/results/{unknown}") for unknown in (uuid4(), "x")]
    deleted = stack.post_graphql("mutation ($ids: [ID!]) { deleteSamples(ids: $ids) { id } }", {"ids": [sample_id]})
    assert "errors" not in deleted.json()

    def deleted_response() -> httpx.Response | None:
        response = stack.get(f"/results/{sample_id}")
        return response if response.status_code == 404 else None

    gone = eventually(deleted_response)

    assert [response.status_code for response in refused] == [404] * 3
    for response in refused:
        assert response.json()["error"]["message"] == "the sample does not exist"
    assert gone is not None
    assert gone.json()["error"]["message"] == "the sample was deleted"
