"""The client retries reads, and reports errors by what a caller can do about them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from runtime.elapsed_time import elapsed
from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, FirestoreUnavailable, text_for_log
from storage.firestore.messages import BatchGetDocumentsRequest, BatchGetDocumentsResponse
from tests.storage.firestore import one_method
from tests.storage.firestore.one_method import DATABASE

Code = grpc.StatusCode


class Reads:
    """A BatchGetDocuments that finds some documents and then ends with the next of `codes`."""

    def __init__(self, *codes: grpc.StatusCode, documents_before_error: int = 0, details: str = "on purpose") -> None:
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self._codes = deque(codes)
        self._documents_before_error = documents_before_error
        self._details = details

    async def batch_get(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Serve one call."""
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        code = self._codes.popleft() if self._codes else Code.OK
        count = len(request.documents) if code is Code.OK else self._documents_before_error
        for name in request.documents[:count]:
            yield BatchGetDocumentsResponse(found={"name": name}, read_time={"seconds": 7})
        if code is not Code.OK:
            await context.abort(code, self._details)


def connect(reads: Reads, *, timeout_seconds: float = 30) -> AbstractAsyncContextManager[Firestore]:
    """Serve `reads` on the loopback; yield a client."""
    method = grpc.unary_stream_rpc_method_handler(
        reads.batch_get, BatchGetDocumentsRequest.FromString, BatchGetDocumentsResponse.SerializeToString
    )
    return one_method.serve("BatchGetDocuments", method, timeout_seconds=timeout_seconds)


async def test_documents_are_returned_by_path() -> None:
    """Requests name the database in the fields and in the headers that route them."""
    reads = Reads()
    async with connect(reads) as firestore:
        documents = await firestore.batch_get(["a/b", "c/d"], mask=["count"])

    assert {path: document.name for path, document in documents.items()} == {
        "a/b": f"{DATABASE}/documents/a/b",
        "c/d": f"{DATABASE}/documents/c/d",
    }
    (request,) = reads.requests
    assert request.database == DATABASE
    assert list(request.mask.field_paths) == ["count"]
    assert reads.metadata[0]["google-cloud-resource-prefix"] == DATABASE
    assert reads.metadata[0]["x-goog-request-params"] == "database=projects/p/databases/%28default%29"


async def test_a_read_that_fails_before_its_first_response_is_retried() -> None:
    """The caller sees only the success."""
    reads = Reads(Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)
    async with connect(reads) as firestore:
        assert list(await firestore.batch_get(["a/b"])) == ["a/b"]

    assert len(reads.requests) == 3


async def test_a_read_that_fails_after_its_first_response_is_not_retried() -> None:
    """The caller may have used the first documents already."""
    reads = Reads(Code.UNAVAILABLE, documents_before_error=1)
    async with connect(reads) as firestore:
        with pytest.raises(FirestoreUnavailable, match="Firestore returned UNAVAILABLE; retry later"):
            await firestore.batch_get(["a/b", "c/d"])

    assert len(reads.requests) == 1


async def test_a_rejected_read_is_not_retried() -> None:
    """The error has the code and the message of Firestore."""
    reads = Reads(Code.PERMISSION_DENIED)
    async with connect(reads) as firestore:
        with pytest.raises(FirestoreError, match="Firestore returned PERMISSION_DENIED: on purpose") as error:
            await firestore.batch_get(["a/b"])

    assert error.value.status is Code.PERMISSION_DENIED
    assert len(reads.requests) == 1


async def test_a_query_whose_index_is_being_built_can_be_retried_later() -> None:
    """Firestore refuses it with FAILED_PRECONDITION, which is a permanent error in all other cases."""
    words = "The query requires an index. That index is currently building and cannot be used yet."
    async with connect(Reads(Code.FAILED_PRECONDITION, details=words)) as firestore:
        with pytest.raises(FirestoreUnavailable):
            await firestore.batch_get(["a/b"])
    async with connect(Reads(Code.FAILED_PRECONDITION)) as firestore:
        with pytest.raises(FirestoreError):
            await firestore.batch_get(["a/b"])


async def test_callers_share_a_read_of_the_clock() -> None:
    """Otherwise, each of the samples in progress would read the clock when its last time is too old."""
    reads = Reads()
    async with connect(reads) as firestore:
        times = await asyncio.gather(*(firestore.estimated_now() for _ in range(100)))

    assert len(reads.requests) == 1
    assert min(times) >= datetime.fromtimestamp(7, UTC)


async def test_the_clock_is_read_again_after_the_machine_was_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample with an expiry time from before the suspension would be deleted at once."""
    reads = Reads()
    async with connect(reads) as firestore:
        await firestore.estimated_now()
        after_suspension = elapsed() + timedelta(days=2) // timedelta(microseconds=1)
        monkeypatch.setattr("storage.firestore.client.elapsed", lambda: after_suspension)
        time = await firestore.estimated_now()

    assert len(reads.requests) == 2
    assert time == datetime.fromtimestamp(7, UTC)


async def test_a_failed_read_of_the_clock_is_not_kept() -> None:
    """All callers of the failed read get its error, and the next one reads again."""
    reads = Reads(Code.PERMISSION_DENIED)
    async with connect(reads) as firestore:
        errors = await asyncio.gather(*(firestore.estimated_now() for _ in range(10)), return_exceptions=True)
        await firestore.estimated_now()

    assert [type(error) for error in errors] == [FirestoreError] * 10
    assert len(reads.requests) == 2


async def test_retries_end_at_the_timeout() -> None:
    """The error is the one of the last attempt, or that the timeout cut it short."""
    reads = Reads(*[Code.UNAVAILABLE] * 1000)
    async with connect(reads, timeout_seconds=2) as firestore:
        with pytest.raises(Unavailable):
            await firestore.batch_get(["a/b"])

    assert 1 < len(reads.requests) < 1000


async def test_a_ping_is_not_retried() -> None:
    """It reports whether Firestore responds now."""
    reads = Reads(Code.UNAVAILABLE)
    async with connect(reads) as firestore:
        with pytest.raises(Unavailable):
            await firestore.ping(30)
        await firestore.ping(30)

    assert len(reads.requests) == 2


async def test_a_ping_that_firestore_refuses_says_why() -> None:
    """A role can be missing. The readiness probes of API and function respond with this reason."""
    words = "Missing or insufficient permissions."
    async with connect(Reads(Code.PERMISSION_DENIED, details=words)) as firestore:
        with pytest.raises(Unavailable, match="Firestore returned PERMISSION_DENIED: Missing or insufficient perm"):
            await firestore.ping(30)


async def test_only_the_log_gets_the_addresses_and_projects_that_firestore_names() -> None:
    """Anyone can read the responses of the readiness probes. The operator needs the whole message."""
    words = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.7:8080"
    async with connect(Reads(Code.UNAVAILABLE, details=words)) as firestore:
        with pytest.raises(Unavailable) as error:
            await firestore.ping(30)

    assert str(error.value) == "Firestore returned UNAVAILABLE; retry later"
    assert text_for_log(error.value) == f"Firestore returned UNAVAILABLE; retry later ({words})"


async def test_the_environment_selects_the_emulator_and_its_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database in the arguments has precedence over the project in the environment."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    selected = Firestore.connect(timeout_seconds=1)
    given = Firestore.connect(timeout_seconds=1, database="projects/other/databases/second")

    assert selected.database == "projects/mine/databases/(default)"
    assert given.name("a/b") == "projects/other/databases/second/documents/a/b"
    assert given.path(given.name("a/b")) == "a/b"
    await selected.close()
    await given.close()
