"""Operations that need the scope `admin`: API keys, the audit log, deletions and recomputations."""

import asyncio
import json
import uuid
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import httpx

from tests.attack.registry import add, attack
from tests.attack.target import NDJSON, SAMPLE, Target, frame, repeat

_KEYS = 25
_CREATE = " ".join(f'a{number}: createApiKey(scopes: [READ], label: "key") {{ secret }}' for number in range(_KEYS))
_DELETE = 'mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "nothing") { id } }'
_ENTRIES = 300
_ENTRY_IDS = 100
_AUDIT_LOG = "auditLog(first: 500) { id at actor action details sampleIds sampleCount reason }"
_RECOMPUTE = "mutation ($ids: [ID!]) { recompute(ids: $ids) { id } }"
_WATCH = "subscription ($id: ID!) { recomputation(id: $id) { done } }"


async def _graphql(client: httpx.AsyncClient, query: str, **variables: Any) -> Any:
    return (await client.post("/graphql", json={"query": query, "variables": variables})).json()


async def _with_many_keys(query: str, target: Target) -> None:
    """Create as many API keys as possible, and then send a query that selects keys over 64 connections."""
    async with target.client(64, is_admin=True) as client:
        for _ in range(3_000 // _KEYS):
            if "errors" in await _graphql(client, f"mutation {{ {_CREATE} }}"):
                break
        await repeat(target, 64, lambda: _graphql(client, query))


add("keys_listed", partial(_with_many_keys, "{ apiKeys { digest label createdAt } }"), is_short=True)
add("keys_looked_up", partial(_with_many_keys, 'mutation { revokeApiKey(digest: "0000000000000000") { digest } }'))


async def _large_audit_log(query: str, target: Target) -> None:
    """Add entries with 100 ids each to the audit log, and then read them over 64 connections."""
    async with target.client(64, is_admin=True) as client:
        entries = 0
        while entries < _ENTRIES:  # a deletion is refused while another one is running
            ids = [str(uuid.uuid4()) for _ in range(_ENTRY_IDS)]
            entries += "errors" not in await _graphql(client, _DELETE, ids=ids)
        await repeat(target, 64, lambda: _graphql(client, query))


add("audit_log", partial(_large_audit_log, f"{{ {_AUDIT_LOG} }}"))
add("audit_log_with_aliases", partial(_large_audit_log, f"{{ a: {_AUDIT_LOG} b: {_AUDIT_LOG} c: {_AUDIT_LOG} }}"))


@attack(is_valid_work=True)
async def samples_deleted_one_by_one(target: Target) -> None:
    """Store 10,000 samples, and delete them over 500 connections, one sample in each request."""
    async with target.client(500, is_admin=True) as client:
        lines = (SAMPLE + b"\n") * 10_000
        stored = await client.post("/samples", content=lines, headers={"content-type": NDJSON})
        ids = [json.loads(line)["id"] for line in stored.text.splitlines()]

        async def act() -> None:
            sample_id = ids.pop() if ids else uuid.uuid4()
            await client.delete(f"/samples/{sample_id}")

        await repeat(target, 500, act)


@attack(is_valid_work=True)
async def recomputations_watched(target: Target) -> None:
    """Recompute the same samples again and again, each time with 1,000 subscriptions over 20 WebSockets."""
    async with AsyncExitStack() as opened, target.client(8, is_admin=True) as client:
        created = [await client.post("/samples", content=SAMPLE) for _ in range(500)]
        ids = [response.json()["id"] for response in created]
        sockets = [await opened.enter_async_context(target.websocket(init=True, is_admin=True)) for _ in range(20)]
        ends_at = asyncio.get_running_loop().time() + target.seconds
        while asyncio.get_running_loop().time() < ends_at:
            started = await _graphql(client, _RECOMPUTE, ids=ids)
            if "errors" in started:
                await asyncio.sleep(0.5)
                continue
            job = started["data"]["recompute"]["id"]
            for _, writer in sockets:
                for number in range(50):
                    payload = {"query": _WATCH, "variables": {"id": job}}
                    message = {"type": "subscribe", "id": f"{job}-{number}", "payload": payload}
                    writer.write(frame(1, json.dumps(message).encode()))
