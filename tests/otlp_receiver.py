"""An OTLP/HTTP receiver: collects the spans that processes export."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as a collector sees it. Ids are hexadecimal."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: frozenset[str]
    """The ids of the linked spans."""
    attributes: dict[str, str] = field(hash=False)
    is_error: bool


class Receiver:
    """The spans that were received so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._spans: list[ReceivedSpan] = []

    def spans(self, trace_id: str) -> list[ReceivedSpan]:
        """Return the spans of a trace in the order of their arrival."""
        return [span for span in list(self._spans) if span.trace_id == trace_id]

    def trace_ids(self) -> set[str]:
        """Return the ids of all traces."""
        return {span.trace_id for span in list(self._spans)}

    def add(self, request: ExportTraceServiceRequest) -> None:
        """Add the spans of one export."""
        for resource in request.resource_spans:
            service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                values = {each.key: each.value for each in span.attributes}
                self._spans.append(
                    ReceivedSpan(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        frozenset(link.span_id.hex() for link in span.links),
                        {key: value.string_value or str(value.int_value) for key, value in values.items()},
                        span.status.code == span.status.STATUS_CODE_ERROR,
                    )
                )


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive spans until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.add(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
