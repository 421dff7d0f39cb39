"""Requests that are not events of the sender change nothing: of other programs on this machine, and of web pages."""

import asyncio
import contextlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import asyncio_server
from tests.chromium import open_browser
from tests.ports import free_port
from tests.triggers.machine import DATABASE, SECRET, Machine, event_body, event_headers
from tests.triggers.samples import new_sample

STRUCTURED = "application/cloudevents+json"


def structured(path: str, value: Any) -> str:
    """Return an event in structured mode, which needs no header except the content type."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": "forged",
            "source": f"//firestore.googleapis.com/{DATABASE}",
            "type": "google.cloud.firestore.document.v1.written",
            "document": path,
            "data_base64": b64encode(event_body(value)).decode(),
        }
    )


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (401, {"authorization": ""}),
        (401, {"authorization": "Bearer"}),
        (401, {"authorization": f"Bearer {SECRET}x"}),
        (401, {"authorization": f"Basic {SECRET}"}),
        (403, {"origin": "http://evil.example"}),
        (403, {"sec-fetch-site": "cross-site"}),
        (403, {"host": "evil.example"}),
        (403, {"host": "127.0.0.1.evil.example"}),
        (403, {"host": ""}),
        (413, {"content-length": str(2**20 + 1)}),
        (413, {"content-length": "9" * 30}),
        (415, {"content-type": "text/plain"}),
        (415, {"content-type": "application/x-www-form-urlencoded"}),
        (415, {"content-type": ""}),
        (415, {"ce-id": None}),
    ],
    ids=str,
)
async def test_a_request_that_is_not_an_event_of_the_sender_is_refused_before_its_body_is_read(
    machine: Machine, submitter: str, status: int, changes: dict[str, str | None]
) -> None:
    """The connection is closed, although the body has not been sent."""
    sample = new_sample(submitter)
    value = await machine.store(sample)
    path = value.name.partition("/documents/")[2]
    headers = {"host": "127.0.0.1"} | event_headers(path) | {"content-length": "1000"} | changes
    lines = [f"{name}: {text}" for name, text in headers.items() if text is not None]

    reader, writer = await asyncio.open_connection("127.0.0.1", machine.function.port)
    writer.write("\r\n".join(["POST / HTTP/1.1", *lines, "", ""]).encode())
    response = await asyncio.wait_for(reader.read(), 30)
    writer.close()

    if changes.get("content-length") != "9" * 30:  # the HTTP parser refuses this one
        assert response.startswith(b"HTTP/1.1 %d " % status)
    assert not (await machine.result(sample)).exists


@pytest.mark.parametrize("request_line", ["GET /healthz", "POST /"])
async def test_a_connection_of_a_stranger_carries_one_request(machine: Machine, request_line: str) -> None:
    """Thousands of requests on one connection would be held in memory: 800 MiB for 13 MiB of requests."""
    assert machine.function.running is not None
    process = psutil.Process(machine.function.running.pid)
    before = process.memory_info().rss

    reader, writer = await asyncio.open_connection("127.0.0.1", machine.function.port)
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            writer.write(f"{request_line} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode() * 2_000)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        assert (await reader.read(2**20)).count(b"HTTP/1.1 ") == 1
    writer.close()

    assert process.memory_info().rss - before < 50 * 2**20


async def test_an_authentic_event_of_any_length_is_limited(machine: Machine, submitter: str) -> None:
    """A body without a declared length is counted as it arrives."""
    path = f"submitters/{submitter}/samples/one"

    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(2**16)

    response = await machine.http.post("/", content=body(), headers=event_headers(path))

    assert response.status_code == 413


async def test_an_authentic_event_in_structured_mode_is_computed(machine: Machine, submitter: str) -> None:
    """Eventarc can send both modes."""
    sample = new_sample(submitter)
    value = await machine.store(sample)
    body = structured(value.name.partition("/documents/")[2], value)

    headers = {"content-type": STRUCTURED, "authorization": f"Bearer {SECRET}"}
    response = await machine.http.post("/", content=body, headers=headers)

    assert response.status_code == 200
    assert (await machine.result(sample)).get("status") == "COMPUTED"


async def test_only_the_path_of_events_and_the_liveness_probe_exist(machine: Machine) -> None:
    """Other paths would reach the log of functions-framework."""
    headers = event_headers("submitters/one/samples/one")

    assert (await machine.http.post("/%0aforged", content=b"", headers=headers)).status_code == 404
    assert (await machine.http.get("/", headers=headers)).status_code == 405
    assert (await machine.http.post("/healthz")).status_code == 405


@asynccontextmanager
async def web_page() -> AsyncIterator[int]:
    """Serve an empty page to a browser; yield the port. Close the connections that the browser has not used."""
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            await writer.drain()
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    port = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield port
        await asyncio_server.close(server)
        tasks = [task for task in serving if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


FORGE = """
const [url, body, key, done] = arguments;
const attempts = ["text/plain", "application/cloudevents+json", "application/protobuf"].flatMap((type) => [
  fetch(url, { method: "POST", mode: "no-cors", body, headers: { "content-type": type } }),
  fetch(url, { method: "POST", body, headers: { "content-type": type, authorization: `Bearer ${key}` } }),
]);
attempts.push(Promise.resolve(navigator.sendBeacon(url, new Blob([body], { type: "text/plain" }))));
const form = document.createElement("form");
Object.assign(form, { method: "POST", action: url, enctype: "text/plain", target: "_blank" });
const field = document.createElement("input");
[field.name, field.value] = [body.slice(0, -1) + ',"x":"', '"}'];
form.append(field);
document.documentElement.append(form);
form.submit();
Promise.allSettled(attempts).then((all) => done(all.map((each) => each.value?.status ?? each.status)));
"""


@pytest.mark.browser
@pytest.mark.parametrize("host", ["127.0.0.1", "dropzone.test"])
async def test_a_page_in_a_browser_cannot_forge_an_event(
    machine: Machine, submitter: str, tmp_path: Path, host: str
) -> None:
    """It can send only requests that browsers allow, under the address and under another name of this machine.

    The page even has the secret. Its requests carry an origin, which is refused first.
    """
    sample = new_sample(submitter)
    value = await machine.store(sample)
    body = structured(value.name.partition("/documents/")[2], value)
    url = f"http://{host}:{machine.function.port}/"

    def forge(port: int) -> list[object]:
        with open_browser(tmp_path / "profile") as browser:
            browser.get(f"http://dropzone.test:{port}/")
            outcomes: list[object] = browser.execute_async_script(FORGE, url, body, SECRET)
            return outcomes

    async with web_page() as port:
        outcomes = await asyncio.to_thread(forge, port)

    assert 200 not in outcomes
    assert "forged" not in machine.function.log.read_text()
    assert not (await machine.result(sample)).exists
    assert await machine.deliver(value) == 200
