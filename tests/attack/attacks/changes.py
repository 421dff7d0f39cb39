"""Floods of requests that change much for a tenant: settings, keys, sessions, recomputations and deletions."""

import itertools
import secrets
from functools import partial
from typing import Any

import httpx

from tests.attack.registry import add, attack
from tests.attack.target import NDJSON, Target, repeat

_CONNECTIONS = 64
_CREATE = "mutation { createApiKey(scopes: [READ]) { secret apiKey { digest } } }"
_REVOKE = "mutation ($digest: String!) { revokeApiKey(digest: $digest) { digest } }"
_RECOMPUTE = "mutation { recompute(filter: {mean: {gt: 0}}) { id } }"
_DELETE = 'mutation { deleteSamples(filter: {submittedAt: {gt: "2020-01-01T00:00:00Z"}}, reason: "flood") { id } }'
_CHANGES = {
    "retention": "mutation ($number: Int!) { setRetention(sampleDays: $number, resultDays: $number) { sampleDays } }",
    "handling_of_missing_values": "mutation ($is_odd: Boolean!) { skipMissingValues(on: $is_odd) }",
    "keys_rotated": "mutation ($digest: String!) { rotateApiKey(digest: $digest) { apiKey { digest } } }",
}
"""Mutations by the name of what they change. Each request has another number."""


async def _graphql(client: httpx.AsyncClient, query: str, **variables: Any) -> Any:
    return (await client.post("/graphql", json={"query": query, "variables": variables})).json()


async def _change(mutation: str, target: Target) -> None:
    """Send a mutation over 64 connections, each time with another value."""
    numbers = itertools.count(1)
    async with target.client(_CONNECTIONS, is_admin=True) as client:
        created = await _graphql(client, _CREATE)
        digest = created["data"]["createApiKey"]["apiKey"]["digest"]

        async def act() -> None:
            number = next(numbers)
            variables = {"digest": digest, "number": number % 3_000 + 1, "is_odd": number % 2 == 1}
            await _graphql(client, mutation, **{name: variables[name] for name in variables if f"${name}" in mutation})

        await repeat(target, _CONNECTIONS, act)


for _name, _mutation in _CHANGES.items():
    add(f"changes_of_{_name}", partial(_change, _mutation), is_short=_name == "retention")


@attack()
async def keys_created_and_revoked(target: Target) -> None:
    """Create API keys over 64 connections, use each once, and revoke it."""
    async with target.client(_CONNECTIONS, is_admin=True) as client:

        async def act() -> None:
            created = await _graphql(client, _CREATE)
            if "errors" not in created:
                key = created["data"]["createApiKey"]
                await client.get("/results", headers={"x-api-key": key["secret"]})
                await _graphql(client, _REVOKE, digest=key["apiKey"]["digest"])

        await repeat(target, _CONNECTIONS, act)


@attack()
async def sessions_started(target: Target) -> None:
    """Exchange a key for sessions over 64 connections, and end none."""
    async with target.client(_CONNECTIONS) as client:
        await repeat(target, _CONNECTIONS, lambda: client.post("/session"))


@attack()
async def sign_in_links_guessed(target: Target) -> None:
    """Try tokens of sign-in links over 64 connections, without a key."""
    async with target.client(_CONNECTIONS) as client:
        client.headers.pop("x-api-key")
        await repeat(target, _CONNECTIONS, lambda: client.post("/session", json={"token": secrets.token_urlsafe(32)}))


_SERIES = 10_000
_GROUPS = {
    "summary": '{ resultsSummary(groupBy: ["unit"]) { groups { results } } }',
    "latest": '{ latestResults(groupBy: ["unit"]) { id } }',
    "over_time": '{ resultsOverTime(bucket: HOUR, groupBy: ["unit"]) { start } }',
}


async def _group(query: str, target: Target) -> None:
    """Group the results of 10,000 series by a label that each series has once, over 64 connections."""
    line = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1.5], "labels": {"unit": "u%d"}}\n'
    async with target.client(_CONNECTIONS) as client:
        lines = b"".join(line % number for number in range(_SERIES))
        await client.post("/samples", content=lines, headers={"content-type": NDJSON})
        await repeat(target, _CONNECTIONS, lambda: _graphql(client, query))


for _name, _query in _GROUPS.items():
    add(f"groups_of_10000_series_{_name}", partial(_group, _query))


@attack(is_valid_work=True)
async def all_samples_recomputed(target: Target) -> None:
    """Recompute all of 20,000 results again and again."""
    await target.fill(20_000)
    async with target.client(_CONNECTIONS, is_admin=True) as client:
        await repeat(target, 8, lambda: _graphql(client, _RECOMPUTE))


@attack(is_valid_work=True)
async def all_samples_deleted(target: Target) -> None:
    """Delete all of 20,000 samples by a filter, again and again, while others are stored."""
    await target.fill(20_000)
    async with target.client(_CONNECTIONS, is_admin=True) as client:

        async def act() -> None:
            await _graphql(client, _DELETE)
            await target.fill(100)

        await repeat(target, 8, act)
