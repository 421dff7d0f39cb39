"""Nothing acknowledged is lost, whatever dies, and every sample comes to one state."""

import asyncio
import os
import signal
from functools import partial

import httpx

from tests.stack import Stack, eventually


def restarted(stack: Stack, killed: int) -> bool:
    """Tell whether another Firestore process than `killed` serves."""
    try:
        return stack.firestore_pid() != killed and stack.is_ready()
    except LookupError:
        return False


def test_samples_wait_while_the_function_is_down_and_are_computed_once_each(own_stack: Stack) -> None:
    """It hangs, then it is killed with events in its hands; its successor gets them all."""
    stack = own_stack
    function = stack.function_pid()
    os.kill(function, signal.SIGSTOP)
    ids = [stack.submit({"time_stamp": "2019-05-01T06:00:00Z", "data": [number]})["id"] for number in range(100)]

    states = {stack.sample(sample_id)["state"] for sample_id in ids}
    os.kill(function, signal.SIGKILL)
    computed = [stack.wait_for(sample_id) for sample_id in ids]

    assert states == {"PENDING"}
    assert [sample["result"]["mean"] for sample in computed] == list(range(100))
    results = list(stack.firestore().collection("submitters/local/results").stream())
    assert sorted(result.id for result in results) == sorted(ids)
    assert all(result.create_time == result.update_time for result in results)


def test_a_sample_outlives_firestore_being_killed_after_its_receipt(own_stack: Stack) -> None:
    """Not once but whenever: the receipt means that it is on the disk."""
    stack = own_stack
    ids = []
    for _ in range(3):
        ids.append(stack.submit_fixture()["id"])
        killed = stack.firestore_pid()
        os.kill(killed, signal.SIGKILL)
        eventually(partial(restarted, stack, killed))

    computed = [stack.wait_for(sample_id) for sample_id in ids]

    assert [sample["result"]["count"] for sample in computed] == [100] * 3


async def test_submitting_goes_on_over_a_restart_of_firestore(own_stack: Stack) -> None:
    """A client sees a slow answer or UNAVAILABLE, never a receipt for something that is not there."""
    stack = own_stack
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2, 3]}

    async def submit(client: httpx.AsyncClient) -> str | None:
        answer = await client.post("/samples", json=sample, headers={"x-api-key": stack.key})
        assert answer.status_code in (201, 503), answer.text
        return answer.json()["id"] if answer.status_code == 201 else None

    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as client:
        before = asyncio.gather(*(submit(client) for _ in range(50)))
        await asyncio.wait([asyncio.ensure_future(submit(client))])
        os.kill(stack.firestore_pid(), signal.SIGKILL)
        after = asyncio.gather(*(submit(client) for _ in range(50)))
        receipts = [sample_id for sample_id in [*await before, *await after] if sample_id]

    assert len(receipts) > 50
    assert len(set(receipts)) == len(receipts)
    for sample_id in receipts:
        computed = await asyncio.to_thread(stack.wait_for, sample_id)
        assert computed["result"]["mean"] == 2.0


def test_everything_is_still_there_after_a_restart_of_the_stack(own_stack: Stack) -> None:
    """The same data, the same key."""
    stack = own_stack
    key, sample_id = stack.key, stack.submit_fixture()["id"]
    before = stack.wait_for(sample_id)

    stack.stop()
    stack.start()

    assert stack.key == key
    assert stack.sample(sample_id) == before


def test_a_sample_that_was_acknowledged_just_before_the_end_is_computed_after_the_next_start(own_stack: Stack) -> None:
    """Ctrl-C right after the receipt."""
    stack = own_stack
    ids = [stack.submit_fixture()["id"] for _ in range(20)]

    stack.stop()
    stack.start()

    assert {stack.wait_for(sample_id)["state"] for sample_id in ids} == {"COMPUTED"}
