"""Samples pass through a proxy that refuses requests over 32 MiB, or the client says why they cannot."""

import asyncio
import json
import os
import random
from base64 import b64encode
from pathlib import Path

import httpx
import pytest

from dropzone import AsyncClient, Receipt, SampleState, TooLarge
from dropzone.encoding import parse_limit
from tests.client.conftest import Start
from tests.client.limiting_proxy import CLOUD_RUN_BYTES, LimitingProxy
from tests.stack import Stack

MIB = 2**20
LIMIT = 30 * MIB


def numbers(size: int, seed: int = 1) -> bytes:
    """Return a sample of about `size` bytes with random numbers."""
    rng = random.Random(seed)
    block = ",".join(repr(rng.gauss(0, 1)) for _ in range(50_000))
    data = ",".join([block] * (size // len(block) + 1))
    return b'{"time_stamp":"2026-11-27T00:00:00Z","data":[%s]}' % data.encode()


def incompressible(size: int) -> bytes:
    """Return a sample that has about `size` bytes after compression."""
    return b'{"time_stamp":"2026-11-27T00:00:00Z","data":[1],"note":"%s"}' % b64encode(os.urandom(size))


async def test_a_sample_over_the_limit_of_the_proxy_passes_compressed(stack: Stack) -> None:
    """It is stored byte for byte as it was before compression."""
    raw = numbers(33 * MIB)
    async with LimitingProxy(stack.url).running() as proxy, AsyncClient(proxy.url, stack.key) as client:
        receipt = await client.submit(raw)

        assert len(raw) > CLOUD_RUN_BYTES > max(proxy.sizes)
        assert await client.raw(receipt.id) == raw


async def test_a_sample_that_does_not_fit_is_refused_before_it_is_sent(stack: Stack) -> None:
    """The error names the limit, which the server announces."""
    async with LimitingProxy(stack.url).running() as proxy, AsyncClient(proxy.url, stack.key) as client:
        with pytest.raises(TooLarge, match=r"expected a sample of at most 30\.0 MiB after compression") as error:
            await client.submit(incompressible(31 * MIB))

        assert "split the sample" in str(error.value)
        assert sum(proxy.sizes) == 0
        assert proxy.refused == 0


async def test_a_refusal_of_a_proxy_is_explained(stack: Stack) -> None:
    """The proxy has a lower limit than the server announces."""
    proxy = LimitingProxy(stack.url, max_bytes=2 * MIB)
    async with proxy.running(), AsyncClient(proxy.url, stack.key, retry_seconds=0) as client:
        with pytest.raises(TooLarge, match=r"a proxy in front of http://127\.0\.0\.1:\d+ refused a request of \d"):
            await client.submit(incompressible(3 * MIB))

    assert proxy.refused == 1


async def test_a_file_of_many_samples_is_split_into_requests(stack: Stack, start: Start, tmp_path: Path) -> None:
    """It has more bytes than the proxy accepts. A second run sends everything again, and nothing is stored twice."""
    file = tmp_path / "samples.ndjson"
    lines = [
        b'{"time_stamp":"2026-11-27T00:00:00Z","data":%s}' % str([number] * 20_000).encode() for number in range(40)
    ]
    file.write_bytes(b"\n".join(lines))
    assert file.stat().st_size > 2 * MIB
    ids = []
    async with LimitingProxy(stack.url, max_bytes=MIB).running() as proxy:
        for _ in range(2):
            process = start(stack, stack.key, "submit", "--url", proxy.url, file)
            output, errors = await asyncio.to_thread(process.communicate)
            assert process.returncode == 0, errors
            ids.append([json.loads(line)["id"] for line in output.splitlines()])

        assert len(set(ids[0])) == 40
        assert ids[0] == ids[1]
        assert proxy.refused == 0


async def test_small_samples_are_sent_as_they_are(stack: Stack) -> None:
    """Compression would cost more time than it saves, and the client need not know the limit."""
    raw = b'{"time_stamp":"2026-11-27T00:00:00Z","data":[1,2,3]}'
    async with LimitingProxy(stack.url).running() as proxy, AsyncClient(proxy.url, stack.key) as client:
        receipt = await client.submit(raw)

        assert isinstance(receipt, Receipt)
        assert receipt.state is SampleState.PENDING
        assert proxy.sizes == [len(raw)]


def test_the_server_announces_the_limit(stack: Stack) -> None:
    """In bytes after compression, without a key."""
    response = httpx.options(f"{stack.url}/samples")

    assert response.status_code == 204
    assert response.headers["upload-limit"] == f"max-size={LIMIT}"


@pytest.mark.parametrize(
    ("header", "limit"),
    [
        (None, None),
        ("", None),
        ("max-size=10", 10),
        ("min-size=1, max-size=10", 10),
        ("max-size=10,max-age=5", 10),
        ("max-append-size=10", None),
        ("max-size=?1", None),
    ],
)
def test_the_limit_is_one_member_of_the_header(header: str | None, limit: int | None) -> None:
    """Other servers also announce other limits."""
    assert parse_limit(header) == limit
