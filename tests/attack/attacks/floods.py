"""Floods of valid work with a valid key."""

import asyncio
import os
from functools import partial

import httpx
import numpy as np
import orjson
import zstandard

from tests.attack.registry import add, attack
from tests.attack.target import JSON, NDJSON, SAMPLE, Target, post, repeat, send


@attack(is_valid_work=True, is_short=True)
async def lines_over_64_connections(target: Target) -> None:
    """Stream samples as NDJSON over 64 connections."""
    lines = (SAMPLE + b"\n") * 2_000
    chunk = b"%x\r\n%b\r\n" % (len(lines), lines)

    async def stream() -> None:
        async with target.connection() as streams:
            head = target.head("/samples", f"content-type: {NDJSON}", "transfer-encoding: chunked")
            await send(streams, head + chunk * 50, target.seconds)

    await asyncio.gather(*(stream() for _ in range(64)))


@attack(is_valid_work=True)
async def single_samples_over_64_connections(target: Target) -> None:
    """Submit samples one by one over 64 connections."""
    async with target.client(64) as client:
        await repeat(target, 64, lambda: client.post("/samples", content=SAMPLE))


@attack(is_valid_work=True)
async def lists_of_1000_samples(target: Target) -> None:
    """Submit lists of 1,000 samples over 16 connections."""
    query = "mutation ($s: [RawSample!]!) { submitMany(samples: $s) { id state problems { path message } } }"
    body = b'{"query": %b, "variables": {"s": [%b]}}' % (orjson.dumps(query), b",".join([SAMPLE] * 1_000))
    async with target.client(16) as client:
        await repeat(target, 16, lambda: client.post("/graphql", content=body))


@attack(is_valid_work=True)
async def large_samples(target: Target) -> None:
    """Submit samples of 20 MiB of random numbers over 8 connections."""
    values = np.random.default_rng(1).normal(size=1_000_000).tolist()
    body = zstandard.compress(orjson.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": values}), 1)
    headers = ("content-encoding: zstd", f"content-type: {JSON}")
    await repeat(target, 8, lambda: post(target, body, *headers, seconds=60))


@attack(is_valid_work=True)
async def rejected_samples(target: Target) -> None:
    """Stream invalid samples, which are stored too, over 32 connections."""
    lines = b'{"time_stamp": "yesterday", "data": [null, "a", {}]}\n' * 2_000
    async with target.client(32) as client:
        headers = {"content-type": NDJSON}
        await repeat(target, 32, lambda: client.post("/samples", content=lines, headers=headers))


@attack(is_valid_work=True)
async def long_labels(target: Target) -> None:
    """Stream samples with four long labels, whose values no other sample has, over 4 connections."""
    numbers = iter(range(10**9))

    def line() -> bytes:
        labels = {f"{letter}{'x' * 31}": f"{next(numbers):09}{chr(0x1F600) * 55}" for letter in "abcd"}
        return orjson.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "labels": labels}) + b"\n"

    async with target.client(4) as client:
        headers = {"content-type": NDJSON}
        await repeat(
            target, 4, lambda: client.post("/samples", content=b"".join(line() for _ in range(500)), headers=headers)
        )


@attack(is_valid_work=True)
async def values_of_all_sizes(target: Target) -> None:
    """Stream samples of 600 values between 1e-300 and 1e300, whose exact sums take long, over 8 connections."""
    random = np.random.default_rng(1)
    values = (random.normal(size=(200, 600)) * 10.0 ** random.integers(-300, 300, size=(200, 600))).tolist()
    lines = b"".join(orjson.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": data}) + b"\n" for data in values)
    headers = {"content-type": NDJSON, "content-encoding": "zstd"}
    body = zstandard.compress(lines)
    async with target.client(8) as client:
        await repeat(target, 8, lambda: client.post("/samples", content=body, headers=headers))


@attack(is_valid_work=True)
async def one_idempotency_key(target: Target) -> None:
    """Submit one sample with the same idempotency key over 64 connections."""
    headers = {"idempotency-key": os.urandom(8).hex()}
    async with target.client(64) as client:
        await repeat(target, 64, lambda: client.post("/samples", content=SAMPLE, headers=headers))


@attack(is_valid_work=True)
async def conflicting_idempotency_keys(target: Target) -> None:
    """Submit different samples with the same idempotency key over 64 connections."""
    numbers = iter(range(10**9))
    async with target.client(64) as client:

        async def act() -> None:
            body = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%d]}' % next(numbers)
            await client.post("/samples", content=body, headers={"idempotency-key": "same"})

        await repeat(target, 64, act)


@attack(is_valid_work=True)
async def corrections(target: Target) -> None:
    """Submit samples one by one over 64 connections. Each corrects a sample that was stored before."""
    async with target.client(64) as client:
        latest: list[str] = []

        async def act() -> None:
            headers = {"x-supersedes": latest.pop()} if latest else {}
            response = await client.post("/samples", content=SAMPLE, headers=headers)
            if response.status_code == httpx.codes.CREATED:
                latest.append(response.json()["id"])

        await repeat(target, 64, act)


_DELETED_CORRECTIONS = 200
_DELETE = {"query": "mutation ($ids: [ID!]) { deleteSamples(ids: $ids) { id } }"}


@attack(is_valid_work=True)
async def corrections_of_a_sample_with_deleted_corrections(target: Target) -> None:
    """Correct a sample 200 times in a row, delete the corrections, and submit invalid corrections of it."""
    async with target.client(64, is_admin=True) as client:
        ids = [(await client.post("/samples", content=SAMPLE)).json()["id"]]
        for _ in range(_DELETED_CORRECTIONS):
            corrected = await client.post("/samples", content=SAMPLE, headers={"x-supersedes": ids[-1]})
            ids.append(corrected.json()["id"])
        await client.post("/graphql", json=_DELETE | {"variables": {"ids": ids[1:]}})
        body, headers = b'{"time_stamp": "unknown", "data": []}', {"x-supersedes": ids[0]}
        await repeat(target, 64, lambda: client.post("/samples", content=body, headers=headers))


_CLIENTS = 1_500
_MANY_CLIENTS = {
    "samples": ("/samples", SAMPLE),
    "typenames": ("/graphql", b'{"query": "{ __typename }"}'),
    "lookups": ("/graphql", b'{"query": "{ sample(id: \\"00000000-0000-4000-8000-000000000000\\") { id } }"}'),
    "pages": ("/graphql", b'{"query": "{ results(first: 1) { edges { cursor } } }"}'),
}
"""The path and the body of the requests of each attack."""


async def _many_clients(path: str, body: bytes, target: Target) -> None:
    """Send one request after the other over each of 1,500 connections."""
    request = target.head(path, f"content-type: {JSON}", f"content-length: {len(body)}") + body

    async def act() -> None:
        async with target.connection() as (reader, writer):
            while True:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                _, _, rest = head.lower().partition(b"content-length: ")
                await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))

    await repeat(target, _CLIENTS, act)


for _name, (_path, _body) in _MANY_CLIENTS.items():
    add(f"{_name}_of_1500_clients", partial(_many_clients, _path, _body), is_valid_work=True)


@attack(is_valid_work=True)
async def samples_awaited_by_1500_clients(target: Target) -> None:
    """Open event streams for samples that do not exist."""
    text = "subscription ($id: ID!) { sample(id: $id) { id state } }"

    async def act() -> None:
        async with target.connection() as (reader, writer):
            writer.write(target.event_stream(text, id="00000000-0000-4000-8000-000000000000"))
            await reader.read()

    await repeat(target, _CLIENTS, act)


_MEDIUM_VALUES = 50_000
"""The values of a sample of 200 KB, which is stored as one document."""


@attack(is_valid_work=True)
async def lists_of_medium_samples(target: Target) -> None:
    """Submit lists of 90 samples of 200 KB over 64 connections. Such a list costs little."""
    sample = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b1]}' % (b"1.5," * _MEDIUM_VALUES)
    query = "mutation ($s: [RawSample!]!) { submitMany(samples: $s) { id } }"
    body = zstandard.compress(
        b'{"query": %b, "variables": {"s": [%b]}}' % (orjson.dumps(query), b",".join([sample] * 90))
    )
    headers = {"content-encoding": "zstd"}
    async with target.client(64, timeout=60) as client:
        await repeat(target, 64, lambda: client.post("/graphql", content=body, headers=headers))
