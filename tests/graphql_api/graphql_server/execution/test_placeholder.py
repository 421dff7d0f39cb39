"""A placeholder stands for the numbers of a long request, and the result of splitting it is the same."""

import json
from typing import Any

import msgspec
import pytest
from graphql import OperationDefinitionNode, parse
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.graphql_server import GraphQLSettings
from graphql_api.graphql_server.execution.graphql_request import VariableReader, read_json
from graphql_api.graphql_server.execution.placeholder import replace_list
from graphql_api.graphql_server.settings import MIB
from storage.documents.errors import BadRequest, TooLarge
from tests.stack import SUBMIT, Stack

QUERY = "query($s: RawSample, $x: Int, $l: [RawSample], $f: [Float]) { a }"
NUMBERS = b",".join([b"1.25"] * 400_000)
SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b], "more": {"a": "]"}}' % NUMBERS

scalars = st.none() | st.integers() | st.text(alphabet='a"\\[]{},1 ')
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner))


def read_variables(variables: bytes, query: str = QUERY) -> dict[str, Any]:
    """Read the variables of a long request."""
    body = b'{"query": %b, "variables": %b}' % (json.dumps(query).encode(), variables)
    assert len(body) > MIB
    request = read_json(body)
    operation = parse(query).definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    read = VariableReader(operation, GraphQLSettings()).read(request.variables, request.placeholder)
    return {
        name: bytes(value) if isinstance(value, bytes | msgspec.Raw) else [bytes(each) for each in value]
        for name, value in read.items()
    }


@given(values, st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=30), values)
def test_restoring_returns_the_original_text(before: Any, numbers: list[float], after: Any) -> None:
    """Even if the list is part of a string. The text with the marker is still JSON."""
    for text in (json.dumps([before, numbers, after]), json.dumps([before, str(numbers), after])):
        placeholder = replace_list(text.encode())
        if placeholder is None:
            continue
        json.loads(placeholder.text)
        assert placeholder.restore(msgspec.Raw(placeholder.text)) == text.encode()


def test_the_contents_of_a_list_of_numbers_are_replaced() -> None:
    """The text around them stays."""
    placeholder = replace_list(b'{"a": "x", "data": [1.5, -2, 3e5, null], "b": 1}')

    assert placeholder is not None
    assert bytes(placeholder.contents) == b"1.5, -2, 3e5, null"
    assert placeholder.text == b'{"a": "x", "data": [%b], "b": 1}' % placeholder.marker


@pytest.mark.parametrize("text", [b"1", b'["a", "b", "c"]', b'[{"a": 1}]', b'"' + b"x" * 50 + b'"'])
def test_other_contents_are_not_replaced(text: bytes) -> None:
    """Strings, lists and objects may have to be read."""
    assert replace_list(text) is None


def test_variables_keep_their_bytes() -> None:
    """Raw samples, alone and in lists, with other variables before and after them."""
    assert read_variables(b'{"s": %b}' % SAMPLE) == {"s": SAMPLE}
    assert read_variables(b'{"other": [1], "s": %b , "l": [{}, 1]}' % SAMPLE) == {"s": SAMPLE, "l": [b"{}", b"1"]}
    assert read_variables(b'{"l": [1, %b, [2]]}' % SAMPLE) == {"l": [b"1", SAMPLE, b"[2]"]}
    assert read_variables(b'{"s": "[%b]"}' % NUMBERS) == {"s": b'"[%b]"' % NUMBERS}


def test_the_order_of_members_does_not_matter() -> None:
    """Some clients send the query last."""
    request = read_json(b'{"variables": {"s": %b}, "query": "{a}"}' % SAMPLE)

    assert request.query == "{a}"
    assert request.placeholder is not None


def test_numbers_outside_of_variables_are_not_replaced() -> None:
    """A list in the text of a query makes the query too long. A list in another member is not used."""
    query = f"{{ a(data: [{NUMBERS.decode()}]) }}"

    for body in ({"query": query}, {"query": "{ a }", "data": [0.5] * len(NUMBERS)}):
        with pytest.raises(TooLarge):
            read_json(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        (b'{"f": [%b]}' % NUMBERS, TooLarge),
        (b'{"unknown": [%b]}' % NUMBERS, TooLarge),
        (b'{"s": %b, "s": 1}' % SAMPLE, BadRequest),
        (b'{"s": %b' % SAMPLE, BadRequest),
        (b'{"s": %b}}' % SAMPLE, BadRequest),
    ],
)
def test_a_placeholder_does_not_hide_errors(variables: bytes, error: type[Exception]) -> None:
    """Long plain variables, unknown variables, a name twice, and brackets that do not match."""
    with pytest.raises(error):
        read_variables(variables)


def test_an_error_among_the_numbers_is_reported_with_its_path(stack: Stack) -> None:
    """The reader of the sample reports it. The next sample is accepted."""
    for fault, message in ((b"1,,2", "not JSON"), (b"1, NaN", "not JSON"), (b"1, true", None)):
        sample = SAMPLE.replace(b"1.25]", fault + b"]")
        body = b'{"query": %b, "variables": {"sample": %b}}' % (json.dumps(SUBMIT).encode(), sample)
        response = stack.post_body(body).json()
        if message is not None:
            assert response["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
            assert message in response["errors"][0]["message"]
        else:
            assert response["data"]["submit"]["state"] == "REJECTED"
            assert response["data"]["submit"]["problems"][0]["path"] == "$.data[400000]"
