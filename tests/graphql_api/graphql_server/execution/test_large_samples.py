"""A sample of 20 MB: the memory it takes until its resolver is called."""

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
from graphql_api.graphql_server.requests.request_body import read_body
from graphql_api.graphql_server.settings import MIB

T = TypeVar("T")

SAMPLE = b'{"time_stamp":"2019-05-01T06:00:00-04:00","data":[' + b",".join([b"1.23456789012345678"] * 1_000_000) + b"]}"
BODY = b'{"query":"mutation($s:RawSample!){submit(sample:$s)}","variables":{"s":%s}}' % SAMPLE
CHUNK = 64 * 1024


def peak_of(work: Callable[[], T]) -> tuple[int, T]:
    """Return the number of bytes that were allocated at the same time, and the result."""
    tracemalloc.start()
    try:
        result = work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak, result


def test_a_large_sample_is_found_without_parsing_it() -> None:
    """Reading the request and its variables makes no object for each number."""
    operation = parse("mutation($s: RawSample!) { submit(sample: $s) }").definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    reader = VariableReader(operation, GraphQLSettings())

    reading, request = peak_of(lambda: read_json(BODY))
    finding, variables = peak_of(lambda: reader.read(request.variables, request.placeholders))

    assert memoryview(variables["s"]) == memoryview(SAMPLE)
    assert reading < MIB
    assert finding < 1.1 * len(SAMPLE)  # the sample is copied once
    parsing, _ = peak_of(lambda: msgspec.json.decode(SAMPLE))
    assert parsing > 1.5 * len(SAMPLE)  # otherwise this test could not fail


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
