"""With production's rate limits one shard is throttled, eight are not, and nothing is lost."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stack import Stack, eventually, suspended

SUBMIT_SAMPLES_PER_REQUEST = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id state } }"
SAMPLES_PER_REQUEST = 600


@pytest.mark.parametrize("shards", [1, 8])
async def test_a_burst_is_throttled_with_one_shard_and_stored_with_any_number(tmp_path: Path, shards: int) -> None:
    """Of 1,200 concurrent samples, those that Firestore refuses are written again until they are stored."""
    settings = {"FIRESTORE_RATE_LIMITS": "indexes", "SHARDS": str(shards), "WRITE_TIMEOUT_SECONDS": "60"}
    with Stack(tmp_path, **{f"DROPZONE_{name}": value for name, value in settings.items()}) as stack:
        first = [stack.submit_fixture()["id"] for _ in range(10)]  # they make the indexes grow with time
        async with httpx.AsyncClient(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=60) as client:
            # The writes queue up while Firestore is suspended, so that they arrive faster than a client submits.
            with suspended(stack.firestore_pid()):
                submitting = asyncio.gather(submit_many(client), submit_many(client))
                await asyncio.to_thread(
                    eventually, lambda: metric(stack, "dropzone_pending_writes") == 2 * SAMPLES_PER_REQUEST
                )
                resumed = time.monotonic()
            receipts = {sample["id"]: sample["state"] for receipts in await submitting for sample in receipts}
            seconds = time.monotonic() - resumed
            refused = await asyncio.to_thread(metric, stack, 'dropzone_firestore_errors_total{code="ABORTED"}')
        results: Any = stack.firestore().collection("submitters/local/results")
        await asyncio.to_thread(
            eventually, lambda: results.count().get()[0][0].value == len(first) + len(receipts), lambda: stack.log
        )
        computed = {result.id for result in results.list_documents()}

    assert len(receipts) == 2 * SAMPLES_PER_REQUEST
    assert set(receipts.values()) == {"PENDING"}
    assert computed == {*first, *receipts}
    assert len(receipts) <= shards * (500 + 500 * seconds)  # a slow machine only raises this bound
    assert shards == 1 or refused == 0


async def submit_many(client: httpx.AsyncClient) -> list[dict[str, str]]:
    """Submit `SAMPLES_PER_REQUEST` samples in one request; return their receipts."""
    samples = [{"time_stamp": "2019-05-01T06:00:00Z", "data": [number, 1]} for number in range(SAMPLES_PER_REQUEST)]
    response = (
        await client.post("/graphql", json={"query": SUBMIT_SAMPLES_PER_REQUEST, "variables": {"samples": samples}})
    ).json()
    assert "errors" not in response, response
    receipts: list[dict[str, str]] = response["data"]["submitMany"]
    return receipts


def metric(stack: Stack, name: str) -> float:
    """Return the value of a metric of the API."""
    line = re.search(rf"^{re.escape(name)} (\S+)$", stack.get("/metrics").text, re.MULTILINE)
    assert line is not None
    return float(line[1])
