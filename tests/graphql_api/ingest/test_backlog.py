"""Samples without results count towards the backlog of their submitter, until results are there."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.stack import Stack, eventually

SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'
MAX_PENDING = 20


@pytest.fixture(scope="module")
def limited_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a low limit of samples without results."""
    settings = {"DROPZONE_MAX_PENDING_SAMPLES_PER_SUBMITTER": str(MAX_PENDING)}
    with Stack(tmp_path_factory.mktemp("backlog"), **settings) as stack:
        yield stack


def test_a_submitter_with_a_full_backlog_is_refused_until_results_are_there(limited_stack: Stack) -> None:
    """Other submitters are not affected, and invalid samples do not count."""
    other = limited_stack.new_key("beside")
    function = limited_stack.function_pid()
    os.kill(function, signal.SIGSTOP)
    try:
        for _ in range(MAX_PENDING):
            assert limited_stack.post_sample(b"{}").status_code == 422
            assert limited_stack.post_sample(SAMPLE).status_code == 201

        refused = limited_stack.post_sample(SAMPLE)

        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["extensions"]["limit"] == "max_pending_samples_per_submitter"
        assert limited_stack.post_sample(SAMPLE, x_api_key=other).status_code == 201
    finally:
        os.kill(function, signal.SIGCONT)

    eventually(lambda: limited_stack.post_sample(SAMPLE).status_code == 201)
    for _ in range(3 * MAX_PENDING):  # the backlog shrinks as results arrive
        eventually(lambda: limited_stack.post_sample(SAMPLE).status_code == 201)
