"""The embedded Firestore and the function as processes on free ports of the loopback."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from google.cloud.firestore import SERVER_TIMESTAMP, AsyncClient
from google.events.cloud.firestore_v1 import DocumentEventData

from storage.documents import Sample, document_paths
from storage.documents.stored_fields import SERVER_TIME
from storage.firestore import encoding
from tests.ports import free_port
from tests.received import stored_documents

PROJECT = "dropzone-test"
DATABASE = f"projects/{PROJECT}/databases/(default)"
ROOT = Path(__file__).parents[2]
SECRET = "the-secret-of-the-stack-that-the-tests-start"
EventData: Any = DocumentEventData.pb()


@dataclass
class Process:
    """A Python command that runs in `folder` and listens on `port`."""

    port: int
    command: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    running: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.folder / f"{self.port}.log"

    async def start(self) -> None:
        """Start the process and wait until it listens."""
        with self.log.open("ab") as log:
            self.running = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.command.split(),
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "DROPZONE_LOG_FORMAT": "text"} | dict(self.environment),
                stdout=log,
                stderr=log,
            )
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                assert self.running.returncode is None, self.log.read_text()
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return

    async def stop(self) -> int:
        """Send SIGTERM, wait for the end of the process, and return its exit code."""
        assert self.running is not None
        if self.running.returncode is None:
            self.running.terminate()
        return await self.running.wait()


class Machine:
    """A Firestore, the function, Google's client of Firestore and an HTTP client of the function."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        firestore_port, function_port = free_port(), free_port()
        host = f"127.0.0.1:{firestore_port}"
        self.firestore = Process(
            firestore_port,
            f"-m infra.embedded.firestore --host 127.0.0.1 --port {firestore_port} --data firestore.sqlite",
            folder,
        )
        self.function = Process(
            function_port,
            "-m triggers",
            folder,
            {
                "PORT": str(function_port),
                "DROPZONE_EVENT_SECRET": SECRET,
                "FIRESTORE_EMULATOR_HOST": host,
            },
        )
        os.environ["FIRESTORE_EMULATOR_HOST"] = host
        self.client: Any = AsyncClient(project=PROJECT)
        del os.environ["FIRESTORE_EMULATOR_HOST"]
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{function_port}", timeout=60, trust_env=False)

    async def start(self) -> None:
        """Start both processes."""
        await asyncio.gather(self.firestore.start(), self.function.start())

    async def stop(self) -> None:
        """Stop both processes and close the clients."""
        await self.http.aclose()
        self.client.close()
        await asyncio.gather(self.firestore.stop(), self.function.stop())

    async def store(self, sample: Sample, **changes: object) -> Any:
        """Store `sample` as the API does, with `changes` to its header. Return the document of the header."""
        *chunks, (path, header) = stored_documents(sample)
        for chunk_path, chunk in chunks:
            await self.client.document(chunk_path).set(dict(chunk))
        return await self.put(path, dict(header) | changes)

    async def put(self, path: str, document: Mapping[str, object]) -> Any:
        """Write a document and return it as an event contains it."""
        await self.client.document(path).set(
            {key: SERVER_TIMESTAMP if value is SERVER_TIME else value for key, value in document.items()}
        )
        return await self.get(path)

    async def get(self, path: str) -> Any:
        """Return the current document at `path` as a protocol message."""
        snapshot = await self.client.document(path).get()
        document = encoding.to_write(f"{DATABASE}/documents/{path}", snapshot.to_dict()).update
        document.create_time.FromDatetime(snapshot.create_time)
        document.update_time.FromDatetime(snapshot.update_time)
        return document

    async def touch(self, document: Any) -> Any:
        """Write to a sample's header, so that its update time changes."""
        path = document.name.partition("/documents/")[2]
        await self.client.document(path).update({"touched": SERVER_TIMESTAMP})
        return await self.get(path)

    async def result(self, sample: Sample) -> Any:
        """Return the snapshot of the result of `sample`."""
        header = sample.header
        return await self.client.document(document_paths.result(header.submitter, header.id)).get()

    async def deliver(
        self,
        value: Any = None,
        *,
        old_value: Any = None,
        body: bytes | None = None,
        path: str = "",
        kind: str = "written",
        content_type: str = "application/protobuf",
    ) -> int:
        """Send an event to the function as Eventarc does; return the HTTP status."""
        document = value if value is not None else old_value
        headers = event_headers(path or document.name.partition("/documents/")[2], kind, content_type)
        if body is None:
            body = event_body(value, old_value)
        return (await self.http.post("/", content=body, headers=headers)).status_code

    async def deliver_until_accepted(self, value: Any) -> int:
        """Send an event until the function does not respond with 503. Return the HTTP status."""
        async with asyncio.timeout(60):
            while True:
                status = await self.deliver(value)
                if status != 503:
                    return status
                await asyncio.sleep(0.05)


def event_headers(path: str, kind: str = "written", content_type: str = "application/protobuf") -> dict[str, str]:
    """Return the headers of an event about the document at `path`."""
    return {
        "ce-specversion": "1.0",
        "ce-id": "1f7b41a5-5f3f-4b1a-bf0e-1f5bd0b2a3a0",
        "ce-source": f"//firestore.googleapis.com/{DATABASE}",
        "ce-type": f"google.cloud.firestore.document.v1.{kind}",
        "ce-subject": f"documents/{path}",
        "ce-time": "2026-11-23T22:00:00.000001Z",
        "ce-document": path,
        "ce-database": "(default)",
        "ce-project": PROJECT,
        "content-type": content_type,
        "authorization": f"Bearer {SECRET}",
    }


def event_body(value: Any = None, old_value: Any = None) -> bytes:
    """Return the body of an event from documents of google.firestore.v1."""
    data = EventData()
    if value is not None:
        data.value.MergeFromString(value.SerializeToString())
    if old_value is not None:
        data.old_value.MergeFromString(old_value.SerializeToString())
    body: bytes = data.SerializeToString()
    return body
