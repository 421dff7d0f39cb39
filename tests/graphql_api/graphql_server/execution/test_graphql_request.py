"""A request in JSON: invalid requests are refused, and raw samples keep their bytes."""

import contextlib
import gc
import hashlib
import json
import tracemalloc
from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_api.graphql_server.execution import graphql_request
from graphql_api.graphql_server.execution.graphql_request import VariableReader, read_json
from graphql_api.graphql_server.execution.placeholder import MAX_KEPT_BYTES
from graphql_api.graphql_server.settings import GraphQLSettings
from storage.documents.errors import BadRequest, DropzoneError, TooLarge
from tests.graphql_api.graphql_server.service import Service, error_of

SUBMIT = "mutation($s: RawSample!) { submit(sample: $s) }"
DEEP = 100_000


def operation_of(query: str) -> OperationDefinitionNode:
    """Parse a document with one operation."""
    operation = parse(query, no_location=True).definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    return operation


def read_variables(body: bytes, query: str = "query($s: RawSample, $x: Int, $l: [RawSample]) { a }") -> dict[str, Any]:
    """Read the variables of a request that has this query."""
    request = read_json(body)
    return VariableReader(operation_of(query), GraphQLSettings()).read(request.variables, request.placeholders)


def test_documents_with_many_variables_keep_little_memory() -> None:
    """A client can send any number of such documents, with new names in each of them."""
    names = [[f"v{document}_{number}" for number in range(100)] for document in range(150)]
    operations = [operation_of(f"query({', '.join(f'${name}: Int' for name in each)}) {{ a }}") for each in names]
    tracemalloc.start()  # allocations become much slower
    try:
        for (first, *_), operation in zip(names, operations, strict=True):
            request = read_json(b'{"query": "", "variables": {"%b": 1}}' % first.encode())
            assert VariableReader(operation, GraphQLSettings()).read(request.variables) == {first: 1}
        gc.collect()
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < 1_300_000


@pytest.mark.parametrize("value", [b'{"a": 1, "a": 2}', b'[{"b": {"a": 1e5, "\\u0061": null}}]'])
def test_the_same_key_twice_within_a_variable_is_refused(value: bytes) -> None:
    """One of the two values would be lost. A raw sample keeps both, and its validation reports them."""
    body = b'{"query": "", "variables": {"v": %b}}' % value

    with pytest.raises(BadRequest, match=r"^the variable `v` has the same key twice in one object"):
        read_variables(body, "query($v: Filter) { a }")
    assert bytes(read_variables(body, "query($v: RawSample) { a }")["v"]) == value


@pytest.mark.parametrize("end", [b"", b"d", b" d", b"\\n", b"\\u0041", b"\\ud800", b" and more text"])
@pytest.mark.parametrize("half", [b"\\ud83d", b"\\uDE00"])
def test_half_of_a_character_is_named_with_its_place(half: bytes, end: bytes) -> None:
    """The message said that the text was truncated."""
    start = b'"a\\\\ \\u00fc \\ud83d\\ude00 '
    message = rf"the request is not valid: \\{half[1:].decode()} is half of a character \(byte %d\); send both halves"

    for before, after in ((b'{"query": ', b"}"), (b'{"query": "", "variables": {"x": ', b"}}")):
        with pytest.raises(BadRequest, match=message % len(before + start)):
            read_json(before + start + half + end + b'"' + after)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"true",
        b"1",
        b'"query"',
        b"[]",
        b'[{"query": "{hello}"}]',
        b'[{"query": "{hello}"}, {"query": "{hello}"}]',
        b"{}",
        b"{",
        b'{"query": "{hello}"',
        b'{"query": "{hello}"}}',
        b'{"query": "{hello}"} {"query": "{hello}"}',
        b'{"query": null}',
        b'{"query": 1}',
        b'{"query": {}}',
        b'{"query": ["{hello}"]}',
        b'{"query": "{hello}", "variables": []}',
        b'{"query": "{hello}", "variables": "{}"}',
        b'{"query": "{hello}", "variables": 0}',
        b'{"query": "{hello}", "operationName": 1}',
        b'{"query": "{hello}", "operationName": {}}',
        b'{"query": "{hello}", "extensions": []}',
        b'{"query": "{hello}", "extensions": "x"}',
        b'{"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "x"}}}',
        b'\xef\xbb\xbf{"query": "{hello}"}',
        b'\xff\xfe{\x00"\x00',
        b'{"query": "{hello\x00}"}',
        b'{"query": "\xff"}',
        b'{"query": "\xc0\x80"}',
        b'{"query": "{hello}", "variables": {"s": "\xed\xa0\x80"}}',
        b'{"query": "\\ud800"}',
        b'{"query": "{hello}", "operationName": "\\udfff"}',
        b'{"query": "query($x: String!) {hello(name: $x)}", "variables": {"x": "\\ud800"}}',
        b'{"query": "{hello}", "variables": {"x": NaN}}',
        b'{"query": "{hello}", "variables": {"x": 01}}',
        b'{"query": "query($x: String!) {hello(name: $x)}", "variables": {"x": 1e999}}',
        b'{"query": "query($x: String!) {hello(name: $x)}", "variables": {"x": ' + b"9" * 5000 + b"}}",
        b'{"query": "{hello}", "variables": {"x": ' + b"[" * DEEP + b"]" * DEEP + b"}}",
        b'{"query": "mutation($s: RawSample!) {submit(sample: $s)}", "variables": {"s": '
        + b'{"a":' * DEEP
        + b"1"
        + b"}" * DEEP
        + b"}}",
        b'{"query": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b', "query": "{hello}"}',
        b"[" * DEEP,
    ],
    ids=lambda body: body[:50].decode("latin-1"),
)
def test_an_invalid_request_is_a_bad_request(service: Service, body: bytes) -> None:
    """The status is never 500, and the response to a long request is short."""
    response = service.raw(body)

    assert error_of(response) == (400, "BAD_REQUEST")
    assert len(response.content) < 1024


@pytest.mark.parametrize(
    "body",
    [
        b'{"query":"a","query":"b"}',
        b'{"query":"a","query":"a"}',
        b'{"query":"abc","query":"b"}',
        b'{"query": "b", "query": "abc"}',
        b'{"query":"a","\\u0071uery":"b"}',
        b'{"query":"a","variables":{},"variables":{"s":1}}',
        b'{"query":"a","variables":{"s":1},"x":1,"variables":{}}',
        b'{"query":"a","operationName":null,"operationName":"b"}',
        b'{"query":"a","extensions":{},"extensions":{}}',
        b'{"query":"a","x":1,"x":1}',
        b'{"query":"a","variables":{"s":1,"s":1}}',
        b'{"query":"a","variables":{"s":123,"s":1}}',
        b'{"query":"a","variables":{"s":{"a":"}"},"\\u0073":{"b":[1,2]}}}',
        b'{"query":"a","variables":{ "u" : [1,"]"] , "s":1, "u":2}}',
    ],
)
def test_a_duplicate_key_is_refused(body: bytes) -> None:
    """It would be unclear which sample was meant."""
    with pytest.raises(BadRequest, match="twice"):
        read_variables(body)


def test_unknown_keys_are_ignored() -> None:
    """In the request and in its variables, with values of any kind."""
    body = rb""" { "id": [{"a": "]}\""}, 1.5e3], "query": "a", "x": "}",
        "variables": {"u": {"query": ["}"]}, "s": {"a":  1}, "x": 4, "v": null} , "n":null } """

    variables = read_variables(body)

    assert (bytes(memoryview(variables["s"])), variables["x"]) == (b'{"a":  1}', 4)
    assert set(variables) == {"s", "x"}


@pytest.mark.parametrize("place", [b'{"query": "{a}", %s}', b'{"query": "{a}", "variables": {%s}}'])
def test_many_keys_that_no_operation_uses_are_refused(place: bytes) -> None:
    """Each key takes almost a microsecond, so a million of them would block the event loop."""
    keys = [b'"key%d": 1' % number for number in range(300)]

    with pytest.raises(TooLarge, match="over 200 keys"):
        read_variables(place % b", ".join(keys))
    assert read_variables(place % b", ".join(keys[:150])) == {}


def test_raw_samples_in_lists_stay_raw() -> None:
    """Null stays null, and a single value is passed as a list of one."""
    listed = read_variables(b'{"query":"a","variables":{"l":[ {"a":1}, null ,[2, 3],"x"]}}')["l"]
    single = read_variables(b'{"query":"a","variables":{"l":{"a":1}}}')["l"]

    assert [item and bytes(memoryview(item)) for item in listed] == [b'{"a":1}', None, b"[2, 3]", b'"x"']
    assert bytes(memoryview(single)) == b'{"a":1}'
    assert read_variables(b'{"query":"a","variables":{"s":null,"l":null}}') == {"s": None, "l": None}


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        (b'{"x":[' + b"0," * 600_000 + b"0]}", TooLarge),
        (b'{"u":[' + b"0," * 600_000 + b"0]}", TooLarge),
        (b'{"u":' + b" " * 3_000_000 + b"0}", TooLarge),
        (b'{"u":[' + b"[]," * 11_000 + b"0]}", TooLarge),
        (b'{"u":[' + b"[]," * 6_000 + b'0],"v":[' + b"[]," * 6_000 + b"0]}", TooLarge),
        (b'{"l":[' + b"0," * 1_000 + b"0]}", BadRequest),
        (b'{"x":[' + b"0," * 5_001 + b"0]}", TooLarge),
        (b'{"x":[' + b'{"a":0},' * 1_001 + b"0]}", TooLarge),
    ],
)
def test_variables_that_are_not_samples_are_limited(variables: bytes, error: type[DropzoneError]) -> None:
    """A few bytes of JSON can take hundreds of bytes in Python."""
    with pytest.raises(error):
        read_variables(b'{"query":"a","variables":' + variables + b"}")


def test_only_a_limited_part_of_a_request_is_decoded_as_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding 64 MiB of other characters than ASCII takes a quarter of a second, and zstd compresses them to 6 KB."""
    decoded: list[int] = []
    monkeypatch.setattr(graphql_request, "check_utf8", lambda text: decoded.append(len(text)))

    with pytest.raises(TooLarge):
        read_json(b'{"query":"%b"}' % ("é" * 8_000_000).encode())

    assert sum(decoded) <= MAX_KEPT_BYTES


def test_a_long_string_is_scanned_once() -> None:
    """It has 500,000 escaped quotes. A scan from each of them would take longer than the time limit of a test."""
    body = b'{"query":"a","x":["%b"]}' % (b'\\"' * 500_000)

    assert read_variables(body) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("slxu") | st.text(), inner),
    max_leaves=6,
)
ENVELOPES = st.dictionaries(st.sampled_from(["query", "variables", "operationName", "extensions", "x"]), JSON)


@settings(deadline=None)
@given(body=st.binary() | ENVELOPES.map(lambda envelope: json.dumps(envelope).encode()))
def test_reading_any_bytes_succeeds_or_raises_dropzone_error(body: bytes) -> None:
    """It raises no other exception."""
    with contextlib.suppress(DropzoneError):
        read_variables(body)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n\t", " :  ")])
@given(
    sample=st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists, max_leaves=9
    )
)
def test_a_raw_sample_keeps_its_bytes(separators: tuple[str, str], sample: object) -> None:
    """For any JSON and any whitespace between its tokens."""
    text = json.dumps({"time_stamp": "x", "data": sample}, separators=separators)
    body = json.dumps({"query": "a", "variables": {"s": 0, "x": 1}}, separators=separators).replace("0", text, 1)

    variables = read_variables(body.encode())

    assert bytes(memoryview(variables["s"])) == text.encode()
    assert variables["x"] == 1


def test_a_sample_reaches_its_resolver_with_the_same_bytes(service: Service) -> None:
    """Including spaces, the format of numbers, NUL escapes and the order of keys."""
    sample = '{ "b":1.50, "a" : [1E2,-0.0,"\\u0000é\\ud83d\\ude00"],\n"a2":1e-7 }'.encode()
    response = service.raw(b'{"query":"%s","variables":{"s":%s}}' % (SUBMIT.encode(), sample))

    assert response.json() == {"data": {"submit": hashlib.sha256(sample).hexdigest()}}
    assert service.state.submitted == [sample]


def test_many_samples_keep_their_order(service: Service) -> None:
    """Each has the bytes that were sent."""
    response = service.post(
        "mutation($l: [RawSample]!) { submitMany(samples: $l) }", {"l": [{"a": 1}, None, {"bb": [2, 3]}]}
    )

    assert response.json() == {"data": {"submitMany": [7, None, 12]}}
