"""A PENDING sample shows how often the function has failed to compute it."""

import tomllib
import uuid
from pathlib import Path
from typing import Any

from storage.documents import document_paths
from tests.stack import Stack

SAMPLE = "query ($id: ID!) { sample(id: $id) { state failedAttempts { count problem updatedAt } } }"


def show(stack: Stack, key: str, sample_id: str) -> Any:
    """Return the state and the failed attempts of a sample."""
    return stack.graphql(SAMPLE, {"id": sample_id}, key=key)["sample"]


def test_failed_attempts_are_shown_while_a_sample_is_pending(stack: Stack) -> None:
    """They are ignored when the sample has a result, and a sample that did not fail has none."""
    submitter = f"failing-{uuid.uuid4().hex[:8]}"
    key = stack.new_key(submitter)
    sample_id = stack.submit_fixture(key=key)["id"]
    firestore = stack.firestore()
    stack.wait_for(sample_id, key=key)
    attempts = firestore.document(document_paths.failed_attempts(submitter, sample_id))
    attempts.set({"attempts": 4, "problem": "500 Internal Server Error"})

    computed = show(stack, key, sample_id)
    firestore.document(document_paths.result(submitter, sample_id)).delete()
    pending = show(stack, key, sample_id)
    attempts.delete()
    repaired = show(stack, key, sample_id)

    assert computed == {"state": "COMPUTED", "failedAttempts": None}
    assert pending["state"] == "PENDING"
    assert pending["failedAttempts"].pop("updatedAt")
    assert pending["failedAttempts"] == {"count": 4, "problem": "500 Internal Server Error"}
    assert repaired == {"state": "PENDING", "failedAttempts": None}


def test_event_delivery_writes_the_document_that_the_api_reads() -> None:
    """The two packages do not import each other."""
    [trigger] = tomllib.loads(Path("infra/embedded/stack.toml").read_text())["triggers"]

    path = trigger["failed_attempts_document"].format(submitter="alice", sample="a1")

    assert path == document_paths.failed_attempts("alice", "a1")
