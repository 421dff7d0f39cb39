"""Events that the sender of events did not send, at the port of the function."""

import asyncio
import json
from contextlib import AsyncExitStack
from functools import partial

import httpx

from tests.attack.registry import add, attack
from tests.attack.target import SAMPLE, Harm, Target, repeat

_PROJECT = "projects/dropzone-local/databases/(default)"
_TYPE = "google.cloud.firestore.document.v1.written"


def _event(submitter: str, sample_id: str) -> dict[str, object]:
    path = f"submitters/{submitter}/samples/{sample_id}"
    return {
        "specversion": "1.0",
        "id": "forged\n2019-05-01 00:00:00 forged log line \x1b[31m",
        "type": _TYPE,
        "source": f"//firestore.googleapis.com/{_PROJECT}",
        "subject": f"documents/{path}",
        "document": path,
        "time": "2019-05-01T00:00:00Z",
        "data": {
            "value": {
                "name": f"{_PROJECT}/documents/{path}",
                "updateTime": "9999-12-31T00:00:00Z",
                "fields": {"state_on_arrival": {"stringValue": "ACCEPTED"}, "raw": {"bytesValue": ""}},
            }
        },
    }


async def forge(content_type: str, is_binary: bool, target: Target) -> None:
    """Send a forged event about a sample with a result, and one about a sample that does not exist."""
    async with target.client() as client:
        sample_id = (await client.post("/samples", content=SAMPLE)).json()["id"]
        before = await _result(client, sample_id)
        ghost = "00000000-0000-4000-8000-00000000dead"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{target.function_port}", timeout=30) as function:
            for forged_id in (sample_id, ghost):
                event = _event("attacker", forged_id)
                headers = {"content-type": content_type, "host": "evil.example", "origin": "http://evil.example"}
                if is_binary:
                    attributes = {name: str(value).split("\n")[0] for name, value in event.items() if name != "data"}
                    headers |= {f"ce-{name}": value for name, value in attributes.items()}
                body = event["data"] if is_binary else event
                response = await function.post("/", content=json.dumps(body), headers=headers)
                if response.status_code < 400:
                    raise Harm(f"the function accepted a forged event: {response.status_code}")
        if await _result(client, sample_id) != before:
            raise Harm("a forged event changed a result")
        response = await client.post("/graphql", json={"query": "{ results { edges { node { id sample { id } } } } }"})
        if "errors" in response.json() or ghost in response.text:
            raise Harm("a forged event made a result without a sample")


async def _result(client: httpx.AsyncClient, sample_id: str) -> object:
    query = {"query": "query ($id: ID!) { result(id: $id) { id mean computedAt } }", "variables": {"id": sample_id}}
    for _ in range(600):
        if (response := (await client.post("/graphql", json=query)).json()["data"]["result"]) is not None:
            return response
        await asyncio.sleep(0.05)
    raise Harm("a sample has no result after 30 s")


for _name, _type, _is_binary in (
    ("text", "text/plain", False),
    ("structured", "application/cloudevents+json", False),
    ("json", "application/json", True),
    ("protobuf", "application/protobuf", True),
    ("form", "application/x-www-form-urlencoded", True),
):
    add(f"forged_event_as_{_name}", partial(forge, _type, _is_binary), is_short=_name == "text")


@attack()
async def huge_event(target: Target) -> None:
    """Send bodies of 256 MiB to the function."""

    async def send() -> None:
        async with target.connection(target.function_port) as (_, writer):
            writer.write(
                b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 268435456\r\n\r\n"
            )
            try:
                async with asyncio.timeout(target.seconds):
                    for _ in range(256):
                        writer.write(bytes(2**20))
                        await writer.drain()
            except (TimeoutError, ConnectionError):
                pass

    await asyncio.gather(*(send() for _ in range(4)))


@attack()
async def pipelined_to_the_function(target: Target) -> None:
    """Open 300 connections to the function, and send thousands of requests over each at the same time."""
    data = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n" * 40_000
    async with AsyncExitStack() as opened:
        connections = [await opened.enter_async_context(target.connection(target.function_port)) for _ in range(300)]
        for _, writer in connections:
            writer.write(data)
        await asyncio.sleep(target.seconds)


@attack()
async def tiny_headers_to_the_function(target: Target) -> None:
    """Open 100 connections to the function, and send 260,000 headers of four bytes over each, without a token."""
    data = b"GET / HTTP/1.1\r\nhost: a\r\n" + b"a:\r\n" * 260_000

    async def act() -> None:
        async with target.connection(target.function_port) as (reader, writer):
            writer.write(data)
            await reader.read()

    await repeat(target, 100, act)


@attack()
async def flood_of_forged_events(target: Target) -> None:
    """Send forged events over 64 connections as fast as possible."""
    body = json.dumps(_event("attacker", "00000000-0000-4000-8000-00000000dead"))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{target.function_port}", timeout=10) as function:

        async def loop() -> None:
            while True:
                try:
                    await function.post("/", content=body, headers={"content-type": "application/cloudevents+json"})
                except httpx.HTTPError:
                    await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(loop()) for _ in range(64)]
        await asyncio.wait(tasks, timeout=target.seconds)
        for task in tasks:
            task.cancel()


async def requests_without_a_token(path: str, target: Target) -> None:
    """Send requests to the function over 500 connections. It needs milliseconds for each, but no token."""

    async def act() -> None:
        async with target.connection(target.function_port) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
            await reader.read()

    await repeat(target, 500, act)


for _name, _path in (("metrics", "/metrics"), ("readiness", "/readyz")):
    add(f"{_name}_of_the_function", partial(requests_without_a_token, _path), is_short=_name == "metrics")
