"""The checks of the smoke test. They use the public API to submit samples and read their results.

If the key has the scope admin, the samples of the run are deleted. Otherwise, each run stores the fixture as a new
sample. The large sample has a fixed idempotency key, so that all runs together store it once.
"""

import asyncio
import json
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import aiohttp

from dropzone import AsyncClient, Result, ResultOverview, SampleState, Unauthenticated

FIXTURE = Path(__file__).parent.parent.parent / "fixture"
LARGE_BYTES = 30 * 2**20
"""Cloud Run refuses requests above 32 MiB."""

_LARGE_KEY = "smoke-test-30-mib"
_LARGE_PAIR = b"0.25,0.75,"


class Failure(Exception):
    """A check failed. The message has the expected and the actual outcome."""


class SmokeTest:
    """The checks against the API at `url`. A check that takes longer than `timeout_seconds` fails."""

    def __init__(self, url: str, key: str, *, timeout_seconds: float) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._can_delete = False
        self._waits_for = ""
        """The reason why the current check waits, for the message after its timeout."""
        self._stored: list[str] = []

    async def run(self) -> None:
        """Run all checks and print a line for each. Raises `Failure` if a check fails, or a `DropzoneError`."""
        async with AsyncClient(self._url, self._key, retry_seconds=self._timeout_seconds / 2) as client:
            checks: dict[str, Callable[[AsyncClient], Awaitable[str]]] = {
                "ready": self._ready,
                "wrong key": self._wrong_key,
                "fixture": self._fixture,
                "30 MiB sample": self._large_sample,
                "clean-up": self._clean_up,
            }
            for name, check in checks.items():
                start = time.monotonic()
                self._waits_for = ""
                try:
                    async with asyncio.timeout(self._timeout_seconds):
                        outcome = await check(client)
                except TimeoutError:
                    raise Failure(
                        f"{name}: not finished within {self._timeout_seconds:.0f} s{self._waits_for}"
                    ) from None
                print(f"ok  {name}: {outcome} ({time.monotonic() - start:.1f} s)", flush=True)

    async def _ready(self, client: AsyncClient) -> str:
        """Wait until the API is ready, because a new instance may still be starting."""
        del client
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self._url}/readyz", allow_redirects=False) as response:
                        status = response.status
                    self._waits_for = f"; GET {self._url}/readyz responds with {status}"
                except aiohttp.ClientConnectionError as error:
                    status = 0
                    self._waits_for = f"; {error}"
                if status == 200:
                    return "GET /readyz responds with 200"
                if status not in (0, 429, 502, 503, 504):
                    raise Failure(f"GET {self._url}/readyz: expected the status 200, got {status}")
                await asyncio.sleep(1)

    async def _wrong_key(self, client: AsyncClient) -> str:
        """Check that the API refuses a key that has the right form but does not exist."""
        del client
        async with AsyncClient(self._url, f"dz_{'0' * (len(self._key) - 3)}", retry_seconds=0) as stranger:
            try:
                await stranger.ping()
            except Unauthenticated:
                return "refused"
        raise Failure("a wrong API key was accepted")

    async def _fixture(self, client: AsyncClient) -> str:
        """Check that a subscriber receives the result of a new sample, and that the result is correct."""
        self._can_delete = "admin" in (await client.whoami()).scopes
        sample = (FIXTURE / "sample.json").read_bytes()
        expected = json.loads((FIXTURE / "result.json").read_text())
        after = await client.newest_cursor()
        if after is None:  # a submitter without results: the next result gives a cursor to start at
            first = await client.submit(sample, idempotency_key=f"smoke-test-{uuid.uuid4()}")
            self._stored.append(first.id)
            async for _ in client.wait([first.id]):
                after = await client.newest_cursor()
        receipt = await client.submit(sample, idempotency_key=f"smoke-test-{uuid.uuid4()}")
        self._stored.append(receipt.id)
        async with aclosing(client.watch(after=after)) as edges:
            async for edge in edges:
                if edge.result.id == receipt.id:
                    break
        _compare(edge.result, expected["count"], expected["mean"], expected["standard_deviation"])
        if await client.raw(receipt.id) != sample:
            raise Failure(f"sample {receipt.id}: the stored bytes differ from the submitted bytes")
        stored = await client.sample(receipt.id)
        if stored.state is not SampleState.COMPUTED:
            raise Failure(f"sample {receipt.id}: expected the state COMPUTED, got {stored.state}")
        return f"the subscription received the result of {receipt.id}, mean {edge.result.mean}"

    async def _large_sample(self, client: AsyncClient) -> str:
        """Check a sample in one request that is almost as large as Cloud Run allows."""
        sample, count = large_sample()
        key = f"{_LARGE_KEY}-{uuid.uuid4()}" if self._can_delete else _LARGE_KEY
        receipt = await client.submit(sample, idempotency_key=key)
        self._stored.append(receipt.id)
        async for settled in client.wait([receipt.id]):
            if settled.result is None:
                raise Failure(f"sample {receipt.id}: expected a result, got the state {settled.state}")
            _compare(settled.result, count, 0.5, 0.25)
        return f"{count:,} values computed"

    async def _clean_up(self, client: AsyncClient) -> str:
        """Delete the samples of this run, if the key has the scope admin."""
        if not self._can_delete:
            return "the samples are not deleted, because the key does not have the scope admin"
        deleted = await client.delete(self._stored, reason="smoke test")
        if deleted != len(self._stored):
            raise Failure(f"expected that {len(self._stored)} samples are deleted, got {deleted}")
        return f"{deleted} samples deleted"


def large_sample() -> tuple[bytes, int]:
    """Return a sample of almost 30 MiB, and its number of values."""
    head, tail = b'{"time_stamp":"2019-05-01T06:00:00-04:00","data":[', b"]}"
    pairs = (LARGE_BYTES - len(head) - len(tail)) // len(_LARGE_PAIR)
    return head + (_LARGE_PAIR * pairs)[:-1] + tail, 2 * pairs


def _compare(result: Result | ResultOverview, count: int, mean: float, standard_deviation: float) -> None:
    actual = (result.count, result.mean, result.standard_deviation)
    is_equal = result.count == count and all(
        value is not None and math.isclose(value, expected, rel_tol=1e-12)
        for value, expected in ((result.mean, mean), (result.standard_deviation, standard_deviation))
    )
    if not is_equal:
        raise Failure(f"result of {result.timestamp}: expected {(count, mean, standard_deviation)}, got {actual}")
