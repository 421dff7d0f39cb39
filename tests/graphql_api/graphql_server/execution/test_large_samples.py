"""A sample of 20 MB: the processor time and memory it takes until its resolver is called."""

import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest
from graphql import OperationDefinitionNode, parse
from starlette.requests import Request
from starlette.types import Message

from graphql_api.graphql_server import GraphQLSettings
from graphql_api.graphql_server.execution.graphql_request import VariableReader, read_json
from graphql_api.graphql_server.http_request import read_body

T = TypeVar("T")

SAMPLE = b'{"time_stamp":"2019-05-01T06:00:00-04:00","data":[' + b",".join([b"1.23456789012345678"] * 1_000_000) + b"]}"
BODY = b'{"query":"mutation($s:RawSample!){submit(sample:$s)}","variables":{"s":%s}}' % SAMPLE
CHUNK = 64 * 1024


def best(work: Callable[[], T]) -> tuple[float, T]:
    """Return the minimum processor time of five runs, and the result."""
    times = []
    for _ in range(5):
        began = time.thread_time()
        result = work()
        times.append(time.thread_time() - began)
    return min(times), result


def test_a_large_sample_is_found_without_parsing_it() -> None:
    """Each of the two steps takes a small part of the time that parsing takes, and blocks the event loop for less."""
    operation = parse("mutation($s: RawSample!) { submit(sample: $s) }").definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    reader = VariableReader(operation, GraphQLSettings())

    splitting, request = best(lambda: read_json(BODY))
    finding, variables = best(lambda: reader.read(request.variables, request.placeholders))

    assert memoryview(variables["s"]) == memoryview(SAMPLE)
    parsing, _ = best(lambda: msgspec.json.decode(BODY))
    assert max(splitting, finding) < parsing / 5


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"%d" % len(BODY))]])
async def test_a_large_body_is_in_memory_once(headers: list[tuple[bytes, bytes]]) -> None:
    """Its chunks are not held beside the joined body, whether or not its size is declared."""
    position = 0

    async def receive() -> Message:
        nonlocal position
        position += CHUNK
        more = position < len(BODY)
        return {"type": "http.request", "body": BODY[position - CHUNK : position], "more_body": more}

    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    tracemalloc.start()
    try:
        body = await read_body(request, len(BODY))
        read = read_json(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert body == BODY
    assert read.variables is not None
    assert peak < 1.3 * len(BODY)
