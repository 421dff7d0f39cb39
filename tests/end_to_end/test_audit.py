"""Events are lost and a function always fails: every sample ends in a final state, and alerts count what failed."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.documents import document_paths
from tests.end_to_end.failing_function import UNLUCKY
from tests.stack import Stack, eventually
from tests.stack_files import stack_file

SAMPLES, UNLUCKY_SAMPLES = 2_000, 40
MIN_LOST = 20
LOSS_PROBABILITY = 0.04
TRIGGER = f"""
fault_injection = {{ loss_probability = {LOSS_PROBABILITY} }}
retention_seconds = 10
min_attempts = 2
max_backoff_seconds = 1
"""


@pytest.fixture
def faulty_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that loses events, gives failing ones up after 10 s, and runs the audit every second."""
    factory = "tests.end_to_end.failing_function:create_app"
    file = stack_file(tmp_path, factory, audit_delay_seconds=2, trigger=TRIGGER)
    with contextlib.ExitStack() as exits:
        stack = exits.push(Stack(tmp_path))
        stack.start("--stack", str(file))
        yield stack


def submit(stack: Stack, count: int, key: str) -> None:
    """Submit samples in one request."""
    lines = [b'{"time_stamp": "2026-11-27T00:00:00Z", "data": [%d]}' % number for number in range(count)]
    response = stack.post_sample(b"\n".join(lines), x_api_key=key, content_type="application/x-ndjson")
    assert response.text.count("PENDING") == count


def count(stack: Stack, state: str, key: str) -> int:
    """Return the number of samples in a state."""
    query = "query ($state: SampleState) { samples(filter: {state: $state}) { totalCount } }"
    total: int = stack.graphql(query, {"state": state}, key=key)["samples"]["totalCount"]
    return total


def test_every_sample_ends_in_a_final_state_although_events_are_lost(faulty_stack: Stack) -> None:
    """The audit triggers the samples again whose event was lost. What always fails is given up, after an alert."""
    stack = faulty_stack
    unlucky_key = stack.new_key(UNLUCKY)

    submit(stack, UNLUCKY_SAMPLES, unlucky_key)
    submit(stack, SAMPLES, stack.key)
    eventually(lambda: count(stack, "COMPUTED", stack.key) == SAMPLES, lambda: stack.log)
    eventually(lambda: count(stack, "FAILED", unlucky_key) == UNLUCKY_SAMPLES, lambda: stack.log)

    client = stack.firestore()
    parent = client.document(document_paths.submitter("local"))
    headers: Any = parent.collection(document_paths.SAMPLES).select(["recompute_requested_at"]).stream()
    lost = sum("recompute_requested_at" in header.to_dict() for header in headers)
    assert lost >= MIN_LOST
    alerts = re.findall(r"audit: (\d+) samples of unlucky have no current result", stack.log)
    assert 0 < max(map(int, alerts), default=0) <= UNLUCKY_SAMPLES
    state = eventually(lambda: _checked(client), lambda: stack.log)
    assert state["checked"] == SAMPLES + UNLUCKY_SAMPLES
    assert state["triggered"] > lost


def _checked(client: Any) -> dict[str, Any]:
    """Return the state of the audit when it has checked all samples, and an empty dictionary before."""
    state: dict[str, Any] = client.document(document_paths.audit()).get().to_dict()
    return state if state["checked"] >= SAMPLES + UNLUCKY_SAMPLES else {}
