"""Calls to Firestore have spans by the semantic conventions of OpenTelemetry for database clients."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from observability import request_context, tracing
from observability.request_context import RequestContext
from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.errors import InvalidWrite
from storage.firestore.messages import RunQueryRequest, StructuredQuery, Write
from storage.firestore.spans import Spans
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.storage.firestore.one_method import DATABASE
from tests.storage.firestore.scripted_firestore import ScriptedFirestore
from tests.storage.firestore.test_client import Reads, connect

Code = grpc.StatusCode
COMMON = {"db.system.name": "gcp.firestore", "db.namespace": DATABASE}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Traces are on; the exporter has the spans that have ended."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "is_on", True)
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def in_request(work: Callable[[], Awaitable[Any]], flags: str = "01") -> Any:
    """Run `work` as a part of a request whose trace is recorded, unless `flags` are others."""

    async def run() -> Any:
        request_context.enter(RequestContext(traceparent=f"00-{'1' * 32}-{'2' * 16}-{flags}".encode()))
        return await work()

    return await asyncio.create_task(run())


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def written(path: str) -> Any:
    """Return a write of a document."""
    write = Write()
    write.update.name = f"{DATABASE}/documents/{path}"
    return write


async def test_a_read_is_a_client_span(exporter: InMemorySpanExporter) -> None:
    """It lasts until the last response, over all attempts."""
    async with connect(Reads(Code.UNAVAILABLE)) as firestore:
        await in_request(lambda: firestore.batch_get(["samples/a", "samples/b"]))

    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind, span.status.status_code) == (
        "BatchGetDocuments samples",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert span.parent is not None
    assert f"{span.parent.span_id:x}" == "2" * 16
    assert attributes(span) == COMMON | {
        "db.operation.name": "BatchGetDocuments",
        "db.collection.name": "samples",
        "db.operation.batch.size": 2,
    }


async def test_a_read_that_fails_has_its_status(exporter: InMemorySpanExporter) -> None:
    """The span has no collection, because the documents are in two."""
    async with connect(Reads(Code.PERMISSION_DENIED)) as firestore:
        with pytest.raises(Exception, match="PERMISSION_DENIED"):
            await in_request(lambda: firestore.batch_get(["samples/a", "results/a"]))

    (span,) = exporter.get_finished_spans()
    assert span.name == f"BatchGetDocuments {DATABASE}"
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span) == COMMON | {
        "db.operation.name": "BatchGetDocuments",
        "db.operation.batch.size": 2,
        "db.response.status_code": "PERMISSION_DENIED",
        "error.type": "PERMISSION_DENIED",
    }


async def test_a_read_outside_of_a_recorded_request_has_no_span(exporter: InMemorySpanExporter) -> None:
    """Probes and background work would start traces of their own. A request that is not recorded has none either."""
    async with connect(Reads()) as firestore:
        await firestore.batch_get(["samples/a"])
        await in_request(lambda: firestore.batch_get(["samples/a"]), flags="00")

    assert exporter.get_finished_spans() == ()


async def test_a_commit_that_is_rejected_is_an_error_and_its_call_is_not(
    exporter: InMemorySpanExporter, server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """The call shares a batch with other writes, which Firestore has accepted."""
    server.set_statuses({"a": [Code.INVALID_ARGUMENT]})
    server.respond()

    with pytest.raises(InvalidWrite):
        await in_request(lambda: writer.write(written("samples/a")))

    call, commit = exporter.get_finished_spans()
    assert (call.name, call.status.status_code) == ("BatchWrite samples", StatusCode.UNSET)
    assert attributes(call) == COMMON | {"db.operation.name": "BatchWrite", "db.collection.name": "samples"}
    assert (commit.name, commit.kind, commit.status.status_code) == ("commit", SpanKind.INTERNAL, StatusCode.ERROR)
    assert attributes(commit) == {"db.response.status_code": "INVALID_ARGUMENT", "error.type": "INVALID_ARGUMENT"}


async def test_each_attempt_of_a_batch_is_a_span(
    exporter: InMemorySpanExporter, server: ScriptedFirestore, writer: GroupCommitWriter
) -> None:
    """The commit is linked to both, and succeeds."""
    server.fail(Code.UNAVAILABLE)
    server.respond()

    await in_request(lambda: writer.write(written("samples/a")))

    failed, succeeded, commit = exporter.get_finished_spans()
    assert attributes(failed)["db.response.status_code"] == "UNAVAILABLE"
    assert "error.type" not in attributes(succeeded)
    assert commit.status.status_code is StatusCode.UNSET
    assert [link.context for link in commit.links] == [failed.context, succeeded.context]


async def test_a_commit_that_is_too_late_is_an_error(exporter: InMemorySpanExporter, firestore: Firestore) -> None:
    """Firestore did not respond, so the span has no status code."""
    writer = GroupCommitWriter(firestore, timeout_seconds=0.05)

    with pytest.raises(Unavailable):
        await in_request(lambda: writer.write(written("samples/a")))

    commit = next(span for span in exporter.get_finished_spans() if span.name == "commit")
    assert commit.status.status_code is StatusCode.ERROR
    assert attributes(commit) == {"error.type": "Unavailable"}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("127.0.0.1:8080", {"server.address": "127.0.0.1", "server.port": 8080}),
        ("firestore.googleapis.com", {"server.address": "firestore.googleapis.com"}),
        ("unix:/run/firestore", {"server.address": "/run/firestore"}),
    ],
)
async def test_a_span_has_the_address_of_firestore(
    exporter: InMemorySpanExporter, server: str, expected: dict[str, object]
) -> None:
    """A query is not a batch."""
    request = RunQueryRequest(structured_query=StructuredQuery(from_=[{"collection_id": "results"}]))

    async def start_and_end() -> None:
        Spans(DATABASE, server).start_read(request).end()

    await in_request(start_and_end)

    (span,) = exporter.get_finished_spans()
    assert span.name == "RunQuery results"
    assert attributes(span) == COMMON | expected | {
        "db.operation.name": "RunQuery",
        "db.collection.name": "results",
    }
