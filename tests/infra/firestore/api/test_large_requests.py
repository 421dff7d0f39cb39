"""Requests whose writes take long to prepare."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.service import Service
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.transport.rpc import Call
from tests.infra.firestore.server_process import DATABASE, ROOT

MASK_PATHS = [f"a{number}" for number in range(150_000)]
INVALID = "a..b"


class RecordedCall:
    """A call without a connection."""

    def __init__(self, request_bytes: int) -> None:
        self.request_bytes = request_bytes

    async def write(self, message: Any) -> None:
        """Discard a message."""

    def end(self, code: Any, details: str) -> None:
        """Discard the status."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """The RPCs of a new data file."""
    storage = Storage(tmp_path / "firestore.sqlite")
    service = Service(storage)
    yield service
    await service.close()
    await storage.close()


def large(request_class: Any) -> Any:
    """Return a request with a long update mask whose last path is not valid. The writer does not see it."""
    write = m.Write(update=m.Document(name=f"{ROOT}/a/x"))
    write.update_mask.field_paths.extend([*MASK_PATHS, INVALID])
    return request_class(database=DATABASE, writes=[write])


async def refused_commit(service: Service, call: Call) -> str:
    """Return the error of a large Commit."""
    with pytest.raises(StatusError) as refused:
        await service.commit(large(m.CommitRequest), call)
    return refused.value.message


async def refused_update(service: Service, call: Call) -> str:
    """Return the error of a large UpdateDocument."""
    (write,) = large(m.CommitRequest).writes
    with pytest.raises(StatusError) as refused:
        await service.update_document(
            m.UpdateDocumentRequest(document=write.update, update_mask=write.update_mask), call
        )
    return refused.value.message


async def refused_batch(service: Service, call: Call) -> str:
    """Return the error of the only write of a large BatchWrite."""
    response = await service.batch_write(large(m.BatchWriteRequest), call)
    return str(response.status[0].message)


async def refused_stream(service: Service, call: Call) -> str:
    """Return the error of a large request of a Write stream."""

    async def requests() -> AsyncIterator[Any]:
        yield m.WriteRequest(database=DATABASE)
        yield large(m.WriteRequest)

    with pytest.raises(StatusError) as refused:
        await service.write(requests(), call)
    return refused.value.message


@pytest.mark.parametrize("send", [refused_commit, refused_update, refused_batch, refused_stream])
async def test_other_calls_continue_while_a_large_request_is_prepared(
    service: Service, send: Callable[[Service, Call], Awaitable[str]]
) -> None:
    """Preparing a request with millions of paths takes seconds."""
    request_bytes = 0 if send is refused_stream else large(m.CommitRequest).ByteSize()
    refused = asyncio.ensure_future(send(service, RecordedCall(request_bytes)))
    await asyncio.sleep(0)  # the call starts
    await asyncio.sleep(0)

    assert not refused.done()
    assert INVALID in await refused
