"""What is stored and what is not, when something goes wrong on the way to Firestore."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.stack import Stack, eventually

WRITE_SECONDS = 1.0
SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that gives up soon, and lets little wait."""
    with Stack(
        Path(tmp_path_factory.mktemp("small")),
        DROPZONE_WRITE_TIMEOUT_SECONDS=str(WRITE_SECONDS),
        DROPZONE_MAX_SAMPLE_MIB="16",
        DROPZONE_MAX_PENDING_WRITES_MIB="16",
    ) as stack:
        yield stack


@contextmanager
def silent_firestore(stack: Stack) -> Iterator[None]:
    """Let Firestore take calls and answer none."""
    pid = stack.firestore_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def chunks(stack: Stack) -> int:
    """Count all chunks that are stored."""
    return len(list(stack.firestore().collection_group("chunks").select([]).stream()))


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "no-json"}], ids=["without a key", "with a key"])
def test_chunks_of_what_turns_out_to_be_no_json_are_removed(small_stack: Stack, key: dict[str, str]) -> None:
    """They are written while the sample is read; without a header nobody would ever find them."""
    no_json = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [' + b"1.25, " * 2_000_000 + b"oops]}"

    answer = small_stack.post_sample(no_json, **key)

    assert answer.status_code == 400
    eventually(lambda: chunks(small_stack) > 0)
    eventually(lambda: chunks(small_stack) == 0)


def test_chunks_of_a_stored_sample_stay(small_stack: Stack) -> None:
    """Whatever another sample with its key comes to."""
    first, second = (
        b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [' + number * 200_000 + b"1]}" for number in (b"1,", b"2,")
    )
    key = {"content-type": "application/json", "idempotency-key": "one"}
    stored = small_stack.post_sample(first, **key).json()["id"]

    assert small_stack.post_sample(second, **key).status_code == 409
    time.sleep(3 * WRITE_SECONDS)  # by then the chunks of the second are removed

    assert small_stack.get(f"/samples/{stored}").content == first
    assert chunks(small_stack) == 1


async def test_what_waits_for_firestore_is_bounded(small_stack: Stack) -> None:
    """Who comes when it is full is told so at once, and when to come again; who waits is told in time."""
    sample = SAMPLE[:-2] + b", 1.5" * 50_000 + b"]}"
    headers = {"x-api-key": small_stack.key, "content-type": "application/json"}
    small_stack.post_sample(SAMPLE, **headers)  # the key is known by now
    async with httpx.AsyncClient(base_url=small_stack.url, headers=headers, timeout=20) as client:
        with silent_firestore(small_stack):
            began = time.monotonic()
            answers = await asyncio.gather(*(client.post("/samples", content=sample) for _ in range(100)))
            took = time.monotonic() - began

    messages = [answer.json()["error"]["message"] for answer in answers]
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert 10 < sum("too many submissions" in message for message in messages) < 90
    assert took < 10 * WRITE_SECONDS
    await asyncio.to_thread(eventually, lambda: small_stack.post_sample(SAMPLE, **headers).status_code == 201)


def test_a_damaged_header_is_shown_with_what_became_of_it(stack: Stack) -> None:
    """The function says FAILED; who asks is told that, not that something went wrong on our side."""
    sample_id = stack.post_sample(SAMPLE, **{"content-type": "application/json"}).json()["id"]
    stack.wait_for(sample_id)

    stack.firestore().document(f"submitters/local/samples/{sample_id}").update({"problems": 5})

    stack.wait_for(sample_id, "FAILED")
    assert stack.sample(sample_id)["problems"][0]["code"] == "NOT_COMPUTABLE"
