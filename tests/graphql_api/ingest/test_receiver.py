"""The receiver responds to every submission, also if Firestore does not."""

import asyncio
import json
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from tests.another_api import AnotherApi
from tests.graphql_api.budgets.sender import Sender
from tests.graphql_api.ingest.conftest import LARGE, SMALL, SUBMITTER, Api
from tests.stack import Stack, eventually, suspended

SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'
MAX_ATTEMPTS = 10


def silent_firestore(stack: Stack) -> AbstractContextManager[None]:
    """Let Firestore accept calls without responding."""
    return suspended(stack.firestore_pid())


async def test_pending_writes_are_limited(stack: Stack, small_api: AnotherApi) -> None:
    """Beyond the limit a submission fails at once with `retry-after`. The others fail after the write timeout.

    On a slow machine, writes can time out before all requests are there. The requests are then sent again.
    """
    sample = SAMPLE[:-2] + b", 1.5" * 48_000 + b"]}"
    headers = {"x-api-key": small_api.key, "content-type": "application/json"}
    small_api.post_sample(SAMPLE, **headers)  # fills the cache of API keys
    async with httpx.AsyncClient(base_url=small_api.url, headers=headers, timeout=60) as client:
        for _ in range(MAX_ATTEMPTS):
            with silent_firestore(stack):
                responses = await asyncio.gather(*(client.post("/samples", content=sample) for _ in range(100)))
            await asyncio.to_thread(eventually, lambda: small_api.post_sample(SAMPLE, **headers).status_code == 201)
            messages = [response.json()["error"]["message"] for response in responses]
            rejected = sum("too many writes of this submitter are waiting" in message for message in messages)
            expired = sum("Firestore did not confirm the write within 2 s" in message for message in messages)
            if 10 < rejected < 90 and rejected + expired == 100:
                break

    assert 10 < rejected < 90
    assert rejected + expired == 100
    assert {response.status_code for response in responses} == {429, 503}
    assert all(int(response.headers["retry-after"]) >= 1 for response in responses)


def test_a_sample_with_a_damaged_header_has_a_state(stack: Stack) -> None:
    """The function stores a FAILED result, and the API returns that instead of an internal error."""
    sample_id = stack.post_sample(SAMPLE, **{"content-type": "application/json"}).json()["id"]
    stack.wait_for(sample_id)

    firestore = stack.firestore()
    header = firestore.document(f"submitters/local/samples/{sample_id}")
    header.update({"problems": 5})
    firestore.document(f"submitters/local/results/{sample_id}").delete()
    header.update({"problems": 6})  # triggers the function again

    stack.wait_for(sample_id, "FAILED")
    assert stack.sample(sample_id)["problems"][0]["code"] == "NOT_COMPUTABLE"


async def test_the_large_samples_of_a_request_end_with_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request keeps memory reserved for them. Here, the client disconnects while a small sample is written."""
    is_writing = asyncio.Event()

    async def wait(*_: Any, **__: Any) -> None:
        is_writing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(api.writer, "write_all", wait)
    receiving = asyncio.create_task(api.receiver.receive_all([SMALL, LARGE], sender=Sender(SUBMITTER)))
    await is_writing.wait()
    receiving.cancel()
    await asyncio.wait([receiving])

    tasks: set[Any] = asyncio.all_tasks()  # `get_coro` has no exact type
    assert not {"_receive_large", "_write_chunks"} & {task.get_coro().__name__ for task in tasks}


@pytest.mark.parametrize("count", [1, 60_000], ids=["small", "large"])
def test_the_idempotency_key_of_a_request_replaces_that_of_its_sample(stack: Stack, count: int) -> None:
    """A correction can contain the whole document of the earlier sample, with its key."""
    own, other = (f"{name} of {count}" for name in ("own", "other"))
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [0.125] * count, "idempotency_key": own}
    earlier = stack.post_sample(json.dumps(sample).encode()).json()["id"]
    edited = json.dumps(sample | {"data": [0.25] * count}).encode()

    first, again = (stack.post_sample(edited, idempotency_key=other, x_supersedes=earlier) for _ in range(2))

    assert first.status_code == 201
    assert first.json()["id"] != earlier
    assert again.json()["id"] == first.json()["id"]
