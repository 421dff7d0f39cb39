"""If a process is killed, no acknowledged sample is lost and every sample ends in one state."""

import asyncio
import json
import os
import signal
from functools import partial

import httpx

from tests.stack import Stack, eventually, needs_embedded_firestore

STATES = "{ samples(first: 100) { edges { node { state } } } }"


def restarted(stack: Stack, killed: int) -> bool:
    """Return whether a Firestore process other than `killed` serves."""
    try:
        return stack.firestore_pid() != killed and stack.is_ready()
    except LookupError:
        return False


def test_samples_wait_while_the_function_is_down_and_are_computed_once(disturbed_stack: Stack) -> None:
    """The function hangs and is killed with events in flight. The restarted function gets all of them."""
    stack, key = disturbed_stack, disturbed_stack.new_key("waiting")
    function = stack.function_pid()
    samples = [{"time_stamp": "2019-05-01T06:00:00Z", "data": [number]} for number in range(100)]
    lines = "\n".join(map(json.dumps, samples)).encode()
    os.kill(function, signal.SIGSTOP)  # the supervisor kills it after 15 s, so there are few requests in this time
    receipts = stack.post_sample(lines, x_api_key=key, content_type="application/x-ndjson").text.splitlines()

    states = [edge["node"]["state"] for edge in stack.graphql(STATES, key=key)["samples"]["edges"]]
    os.kill(function, signal.SIGKILL)
    ids = [json.loads(receipt)["id"] for receipt in receipts]
    computed = [stack.wait_for(sample_id, key=key) for sample_id in ids]

    assert states == ["PENDING"] * 100
    assert [sample["result"]["mean"] for sample in computed] == list(range(100))
    results = list(stack.firestore().collection("submitters/waiting/results").stream())
    assert sorted(result.id for result in results) == sorted(ids)
    assert all(result.create_time == result.update_time for result in results)


@needs_embedded_firestore
def test_a_sample_survives_a_kill_of_firestore_after_its_receipt(disturbed_stack: Stack) -> None:
    """The receipt means that the sample is on the disk. The test kills Firestore three times."""
    stack = disturbed_stack
    ids = []
    for _ in range(3):
        ids.append(stack.submit_fixture()["id"])
        killed = stack.firestore_pid()
        os.kill(killed, signal.SIGKILL)
        eventually(partial(restarted, stack, killed))

    computed = [stack.wait_for(sample_id) for sample_id in ids]

    assert [sample["result"]["count"] for sample in computed] == [100] * 3


@needs_embedded_firestore
async def test_submissions_continue_over_a_restart_of_firestore(disturbed_stack: Stack) -> None:
    """A client gets a slow response or UNAVAILABLE, but never a receipt for a sample that is not stored."""
    stack, sample = disturbed_stack, {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2, 3]}

    async def submit(client: httpx.AsyncClient) -> str | None:
        response = await client.post("/samples", json=sample, headers={"x-api-key": stack.key})
        assert response.status_code in (201, 503), response.text
        return response.json()["id"] if response.status_code == 201 else None

    async with httpx.AsyncClient(base_url=stack.url, timeout=90) as client:
        before = asyncio.gather(*(submit(client) for _ in range(50)))
        await submit(client)
        os.kill(stack.firestore_pid(), signal.SIGKILL)
        after = asyncio.gather(*(submit(client) for _ in range(50)))
        receipts = [sample_id for sample_id in [*await before, *await after] if sample_id]
    computed = [await asyncio.to_thread(stack.wait_for, sample_id) for sample_id in receipts]

    assert len(receipts) > 50
    assert len(set(receipts)) == len(receipts)
    assert {each["result"]["mean"] for each in computed} == {2.0}


@needs_embedded_firestore
def test_a_restart_of_the_stack_preserves_everything(disturbed_stack: Stack) -> None:
    """The key and the sample are the same. Samples that were acknowledged just before the stop are computed."""
    stack = disturbed_stack
    key, sample_id = stack.key, stack.submit_fixture()["id"]
    before = stack.wait_for(sample_id)
    latest = [stack.submit_fixture()["id"] for _ in range(20)]

    stack.stop()
    stack.start()

    assert stack.key == key
    assert stack.sample(sample_id) == before
    assert {stack.wait_for(each)["state"] for each in latest} == {"COMPUTED"}
