"""Placeholders stand for the numbers of a long request, and the result of splitting it is the same."""

import json
from typing import Any

import msgspec
import pytest
from graphql import OperationDefinitionNode, parse
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.graphql_server import GraphQLSettings
from graphql_api.graphql_server.execution.graphql_request import VariableReader, read_json
from graphql_api.graphql_server.execution.placeholder import PlaceholderText
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
    read = VariableReader(operation, GraphQLSettings()).read(request.variables, request.placeholders)
    return {
        name: bytes(value) if isinstance(value, bytes | msgspec.Raw) else [bytes(each) for each in value]
        for name, value in read.items()
    }


long_lists = st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30).map(
    lambda numbers: numbers * 500
)


@given(st.lists(values | long_lists | long_lists.map(str), max_size=8))
def test_restoring_returns_the_original_text(items: list[Any]) -> None:
    """Even if a list is part of a string. The text with the placeholders is still JSON."""
    text = json.dumps(items).encode()
    placeholders = PlaceholderText(text)
    json.loads(placeholders.text)

    assert len(placeholders.text) < 60_000 or len(placeholders.text) < len(text)
    assert placeholders.restore(msgspec.Raw(placeholders.text)) == text
    assert placeholders.are_all_in(msgspec.Raw(placeholders.text))


def test_the_contents_of_all_long_lists_are_replaced() -> None:
    """The text around them stays, and a string among numbers does."""
    numbers = b"1.5, -2, 3e5, null, " * 1_000
    text = b'{"a": "x", "data": [%b 1, "n/a", %b 2], "b": [%b 3]}' % (numbers, numbers, numbers)

    placeholders = PlaceholderText(text)

    assert len(placeholders.text) < len(text) / 8
    for kept in (b'{"a": "x", "data": [1.5,', b', "n/a", ', b' 2], "b": [1.5,', b" 3]}"):
        assert kept in placeholders.text
    assert placeholders.restore(msgspec.Raw(placeholders.text)) == text


@pytest.mark.parametrize(
    "text", [b"1", b"1," * 9, b'["a", "b", "c"]' * 1_000, b'[{"a": 1}]' * 1_000, b'"' + b"x" * 9_000 + b'"']
)
def test_other_contents_are_not_replaced(text: bytes) -> None:
    """Strings, lists and objects may have to be read. A part that is not split by commas cannot be replaced."""
    assert PlaceholderText(text).text == text


def test_a_list_of_long_samples_is_split_without_their_numbers() -> None:
    """Each sample keeps its bytes."""
    samples = [SAMPLE.replace(b"2019", b"%d" % year) for year in range(2000, 2030)]

    assert read_variables(b'{"l": [%b]}' % b", ".join(samples)) == {"l": samples}


def test_a_sample_with_text_among_its_numbers_is_split() -> None:
    """The reader of the sample finds the text, so that the sample ends in a state."""
    sample = SAMPLE.replace(b"1.25]", b'1.25, "n/a", %b]' % (NUMBERS * 8))

    assert read_variables(b'{"s": %b}' % sample) == {"s": sample}


@pytest.mark.parametrize("value", [b"[]", b"{}", b'""', b"[0]", b'"a"'])
@pytest.mark.parametrize("frame", [b'{"query": "{ a }", "k": [%b]}', b'{"query": "{ a }", "variables": {"s": [%b]}}'])
def test_a_long_text_without_numbers_is_refused_before_it_is_split(frame: bytes, value: bytes) -> None:
    """Splitting it in one step would block the interpreter."""
    with pytest.raises(TooLarge, match=r"at most 10 MiB besides long lists of numbers.*POST /samples"):
        read_json(frame % b",".join([value] * (11 * MIB // len(value))))


def test_the_position_of_an_error_is_only_in_messages_of_texts_without_placeholders() -> None:
    """A position in the text with placeholders would be wrong."""
    for factor, message in ((2, r"\(byte \d+\)$"), (8, r"[^)]$")):
        numbers = b",".join([NUMBERS] * factor)
        with pytest.raises(BadRequest, match=message):
            read_json(b'{"query": "{ a }", "variables": {"s": [%b}}' % numbers)


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
    assert request.placeholders is not None


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
    for fault, message in ((b"1,,2,", "not JSON"), (b"1, NaN,", "not JSON"), (b"1, true,", None)):
        sample = SAMPLE.replace(NUMBERS, NUMBERS + b"," + fault + NUMBERS)
        body = b'{"query": %b, "variables": {"sample": %b}}' % (json.dumps(SUBMIT).encode(), sample)
        response = stack.post_body(body).json()
        if message is not None:
            assert response["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
            assert message in response["errors"][0]["message"]
        else:
            assert response["data"]["submit"]["state"] == "REJECTED"
            assert response["data"]["submit"]["problems"][0]["path"] == "$.data[400001]"
