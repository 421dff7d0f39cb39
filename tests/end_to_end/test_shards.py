"""Production's rates as a client feels them: one shard is throttled, eight are not, and nothing is lost."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stack import Stack, eventually

SUBMIT_MANY = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id state } }"
MANY = 600


@pytest.mark.parametrize("shards", [1, 8])
async def test_a_burst_is_throttled_in_one_shard_and_kept_in_any(tmp_path: Path, shards: int) -> None:
    """Twelve hundred at once: what Firestore refuses is sent again until it is stored, then computed."""
    settings = {"FIRESTORE_RATES": "indexes", "SHARDS": str(shards), "WRITE_TIMEOUT_SECONDS": "60"}
    with Stack(tmp_path, **{f"DROPZONE_{name}": value for name, value in settings.items()}) as stack:
        first = [stack.submit_fixture()["id"] for _ in range(10)]  # they show that time grows
        async with httpx.AsyncClient(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=60) as client:
            # They pile up in front of a Firestore that stands still, to come faster than any machine submits.
            os.kill(stack.firestore_pid(), signal.SIGSTOP)
            submitting = asyncio.gather(submit_many(client), submit_many(client))
            await asyncio.to_thread(eventually, lambda: number(stack, "dropzone_pending_writes") == 2 * MANY)
            began = time.monotonic()
            os.kill(stack.firestore_pid(), signal.SIGCONT)
            receipts = {sample["id"]: sample["state"] for answer in await submitting for sample in answer}
            seconds = time.monotonic() - began
            refused = await asyncio.to_thread(number, stack, 'dropzone_firestore_errors_total{code="ABORTED"}')
        results: Any = stack.firestore().collection("submitters/local/results")
        await asyncio.to_thread(
            eventually, lambda: results.count().get()[0][0].value == len(first) + len(receipts), lambda: stack.log
        )
        computed = {result.id for result in results.list_documents()}

    assert len(receipts) == 2 * MANY
    assert set(receipts.values()) == {"PENDING"}
    assert computed == {*first, *receipts}
    assert len(receipts) <= shards * (500 + 500 * seconds)
    assert shards == 1 or refused == 0


async def submit_many(client: httpx.AsyncClient) -> list[dict[str, str]]:
    """Submit samples in one request; return their receipts."""
    samples = [{"time_stamp": "2019-05-01T06:00:00Z", "data": [number, 1]} for number in range(MANY)]
    answer = (await client.post("/graphql", json={"query": SUBMIT_MANY, "variables": {"samples": samples}})).json()
    assert "errors" not in answer, answer
    receipts: list[dict[str, str]] = answer["data"]["submitMany"]
    return receipts


def number(stack: Stack, name: str) -> float:
    """Return one number of the API's metrics."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", stack.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])
