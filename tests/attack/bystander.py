"""Another tenant, in a process of its own: submits small samples steadily, and waits for their results.

Arrivals do not wait for responses (an open loop), so that a stall delays all requests that fall into it. Every tenth
request opens a connection of its own. The process prints a line when its stream of results is open. It runs until its
standard input ends, and then prints its `Experience`.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field

import httpx

from tests.attack.target import SAMPLE

INTERVAL_SECONDS = 0.05
RESULT_PATIENCE_SECONDS = 60.0
_STREAM = "subscription ($after: String) { results(after: $after) { cursor node { id } } }"


@dataclass(slots=True)
class Experience:
    """What the bystander saw. Times are in seconds."""

    submits: list[float] = field(default_factory=list)
    health_checks: list[float] = field(default_factory=list)
    results: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    without_result: int = 0


class Bystander:
    """Submits and watches until `stop` is called."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"x-api-key": key, "content-type": "application/json"}
        self._url = url
        self._headers = headers
        # A client without this context makes one, which takes 55 ms of CPU time and delays all requests.
        self._tls = ssl.create_default_context()
        self._client = self._new_client()
        self._acknowledged: dict[str, float] = {}
        self._computed: dict[str, float] = {}
        self._changed = asyncio.Event()
        self.experience = Experience()

    async def run(self, stop: asyncio.Event) -> Experience:
        """Run until `stop` is set, then wait for the results that are missing."""
        watching = asyncio.create_task(self._watch())
        await self._wait_for_stream()
        print("ready", flush=True)
        started = asyncio.get_running_loop().time()
        requests: list[asyncio.Task[None]] = []
        while not stop.is_set():
            requests.append(asyncio.create_task(self._request(len(requests))))
            pause = started + len(requests) * INTERVAL_SECONDS - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, pause))
        await asyncio.gather(*requests)
        deadline = time.monotonic() + RESULT_PATIENCE_SECONDS
        while (missing := self._acknowledged.keys() - self._computed.keys()) and time.monotonic() < deadline:
            self._changed.clear()
            try:
                async with asyncio.timeout(1):
                    await self._changed.wait()
            except TimeoutError:
                await self._look_up(missing)
        watching.cancel()
        done = self._acknowledged.keys() & self._computed.keys()
        self.experience.results = [max(0.0, self._computed[each] - self._acknowledged[each]) for each in done]
        self.experience.without_result = len(self._acknowledged) - len(done)
        return self.experience

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=60, verify=self._tls)

    async def _wait_for_stream(self) -> None:
        """Submit samples until the stream delivers a result. The stream delivers only results after its start."""
        while not self._computed:
            response = await self._client.post("/samples", content=SAMPLE)
            response.raise_for_status()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._changed.wait()

    async def _request(self, number: int) -> None:
        started = time.monotonic()
        try:
            if number % 10:
                response = await self._client.post("/samples", content=SAMPLE)
            else:
                async with self._new_client() as client:
                    health = await client.get("/healthz")
                    self.experience.health_checks.append(time.monotonic() - started)
                    if health.status_code != 200:
                        self.experience.failures.append(f"GET /healthz: {health.status_code}")
                    started = time.monotonic()
                    response = await client.post("/samples", content=SAMPLE)
        except httpx.HTTPError as error:
            self.experience.failures.append(repr(error))
            return
        ended = time.monotonic()
        self.experience.submits.append(ended - started)
        if response.status_code == 201:
            self._acknowledged[response.json()["id"]] = ended
        else:
            self.experience.failures.append(f"POST /samples: {response.status_code} {response.text[:200]}")

    async def _watch(self) -> None:
        cursor: str | None = None
        while True:
            try:
                async with self._client.stream(
                    "POST",
                    "/graphql",
                    json={"query": _STREAM, "variables": {"after": cursor}},
                    headers={"accept": "text/event-stream"},
                ) as response:
                    async for line in response.aiter_lines():
                        if line.startswith("data: ") and (data := json.loads(line[6:]).get("data")):
                            edge = data["results"]
                            cursor = edge["cursor"]
                            self._computed.setdefault(edge["node"]["id"], time.monotonic())
                            self._changed.set()
            except (httpx.HTTPError, ValueError):
                await asyncio.sleep(0.1)

    async def _look_up(self, ids: set[str]) -> None:
        """Look for results that were stored while the stream was interrupted and had no cursor yet."""
        for sample_id in ids:
            query = {"query": "query ($id: ID!) { result(id: $id) { id } }", "variables": {"id": sample_id}}
            response = await self._client.post("/graphql", json=query)
            if response.status_code == 200 and (response.json().get("data") or {}).get("result"):
                self._computed.setdefault(sample_id, time.monotonic())


async def main() -> None:
    """Run as a process: arguments are the URL and the key."""
    stop = asyncio.Event()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    reading = asyncio.create_task(reader.read())
    reading.add_done_callback(lambda _: stop.set())
    print(json.dumps(asdict(await Bystander(*sys.argv[1:3]).run(stop))))


if __name__ == "__main__":
    asyncio.run(main())
