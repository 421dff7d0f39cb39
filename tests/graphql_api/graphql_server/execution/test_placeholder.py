"""A long request is split without the numbers in it, and what comes of it is the same."""

import json
from typing import Any

import msgspec
import pytest
from graphql import OperationDefinitionNode, parse
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.graphql_server import TransportSettings
from graphql_api.graphql_server.execution.graphql_request import VariableReader, read_json
from graphql_api.graphql_server.execution.placeholder import omit
from graphql_api.graphql_server.settings import MIB
from storage.documents.errors import BadRequest, TooLarge
from tests.stack import SUBMIT, Stack

QUERY = "query($s: RawSample, $x: Int, $l: [RawSample], $f: [Float]) { a }"
NUMBERS = b",".join([b"1.25"] * 400_000)
SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b], "more": {"a": "]"}}' % NUMBERS

scalars = st.none() | st.integers() | st.text(alphabet='a"\\[]{},1 ')
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner))


def read_variables(variables: bytes, query: str = QUERY) -> dict[str, Any]:
    """Read variables of a request that is long."""
    body = b'{"query": %b, "variables": %b}' % (json.dumps(query).encode(), variables)
    assert len(body) > MIB
    asked = read_json(body)
    operation = parse(query).definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    read = VariableReader(operation, TransportSettings()).read(asked.variables, asked.omission)
    return {
        name: bytes(value) if isinstance(value, bytes | msgspec.Raw) else [bytes(each) for each in value]
        for name, value in read.items()
    }


@given(values, st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=30), values)
def test_what_is_left_out_can_be_put_back(before: Any, numbers: list[float], after: Any) -> None:
    """Wherever the list stands, be it in a string; and what is left is JSON."""
    for text in (json.dumps([before, numbers, after]), json.dumps([before, str(numbers), after])):
        omission = omit(text.encode())
        if omission is None:
            continue
        json.loads(omission.text)
        assert omission.restore(msgspec.Raw(omission.text)) == text.encode()


def test_a_list_of_numbers_is_left_out() -> None:
    """And nothing of what is around it."""
    omission = omit(b'{"a": "x", "data": [1.5, -2, 3e5, null], "b": 1}')

    assert omission is not None
    assert bytes(omission.inside) == b"1.5, -2, 3e5, null"
    assert omission.text == b'{"a": "x", "data": [%b], "b": 1}' % omission.mark


@pytest.mark.parametrize("text", [b"1", b'["a", "b", "c"]', b'[{"a": 1}]', b'"' + b"x" * 50 + b'"'])
def test_what_holds_more_than_numbers_is_left_in(text: bytes) -> None:
    """Strings, lists and objects are somebody's to look at."""
    assert omit(text) is None


def test_variables_are_as_they_were_sent() -> None:
    """Raw samples, alone and in lists, whatever stands before and behind."""
    assert read_variables(b'{"s": %b}' % SAMPLE) == {"s": SAMPLE}
    assert read_variables(b'{"other": [1], "s": %b , "l": [{}, 1]}' % SAMPLE) == {"s": SAMPLE, "l": [b"{}", b"1"]}
    assert read_variables(b'{"l": [1, %b, [2]]}' % SAMPLE) == {"l": [b"1", SAMPLE, b"[2]"]}
    assert read_variables(b'{"s": "[%b]"}' % NUMBERS) == {"s": b'"[%b]"' % NUMBERS}


def test_the_order_of_members_does_not_matter() -> None:
    """Some clients send the query last."""
    asked = read_json(b'{"variables": {"s": %b}, "query": "{a}"}' % SAMPLE)

    assert asked.query == "{a}"
    assert asked.omission is not None


def test_numbers_elsewhere_stay() -> None:
    """In a query that has them inline."""
    query = f"{{ a(data: [{NUMBERS.decode()}]) }}"
    asked = read_json(b'{"query": %b, "variables": {"x": 1}}' % json.dumps(query).encode())

    assert asked.query == query
    assert asked.omission is None


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
def test_what_was_refused_is_refused(variables: bytes, error: type[Exception]) -> None:
    """Plain variables that are long, others that nobody asks for, a name twice, brackets that do not match."""
    with pytest.raises(error):
        read_variables(variables)


def test_a_fault_among_the_numbers_is_said_where_it_is(stack: Stack) -> None:
    """By whoever reads the sample; the next one is welcome."""
    for fault, message in ((b"1,,2", "not JSON"), (b"1, NaN", "not JSON"), (b"1, true", None)):
        sample = SAMPLE.replace(b"1.25]", fault + b"]")
        body = b'{"query": %b, "variables": {"sample": %b}}' % (json.dumps(SUBMIT).encode(), sample)
        answer = stack.post_body(body).json()
        if message is not None:
            assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
            assert message in answer["errors"][0]["message"]
        else:
            assert answer["data"]["submit"]["state"] == "REJECTED"
            assert answer["data"]["submit"]["problems"][0]["path"] == "$.data[400000]"
