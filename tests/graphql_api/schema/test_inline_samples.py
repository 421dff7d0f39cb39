"""Samples as literals in the query, with and without variables, are stored as they were written."""

from typing import Any

import pytest

from tests.stack import Stack

SUBMIT = (
    "mutation (%s) { submit(sample: {time_stamp: "
    '"2019-05-01T06:00:00Z", data: [1], more: %s}) { id state count raw problems { path } } }'
)


def submitted(stack: Stack, written: str, declared: str = "", **variables: Any) -> Any:
    """Return the receipt of a sample that contains the literal `written`."""
    query = (SUBMIT % (declared, written)).replace("()", "")
    return stack.graphql(query, variables)["submit"]


@pytest.mark.parametrize("number", ["1" + "0" * 30, "-18446744073709551617", "9" * 4_000, "1e400", "-0", "5e-324"])
def test_a_number_is_stored_with_all_digits(stack: Stack, number: str) -> None:
    """No step converts it to a double or to an integer of 64 bits."""
    receipt = submitted(stack, f"[{number}]")

    assert receipt["state"] == "PENDING"
    assert f'"more":[{number}]'.encode() in stack.get(f"/samples/{receipt['id']}").content


def test_integers_of_more_than_64_bits_are_computed(stack: Stack) -> None:
    """Statistics use the nearest doubles."""
    query = (
        SUBMIT.replace(" (%s)", "").replace(
            "[1]", "[1000000000000000000000000000000, -1000000000000000000000000000000]"
        )
        % "0"
    )

    sample = stack.wait_for(stack.graphql(query)["submit"]["id"])

    assert (sample["result"]["mean"], sample["result"]["standardDeviation"]) == (0.0, 1e30)


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("[RawSample]", [{"a": [1.5, None]}, 2, None], [{"a": [1.5, None]}, 2, None]),
        ("[[RawSample!]]", [[{"a": 1}], None], [[{"a": 1}], None]),
        ("DateTime", "2020-01-01T01:00:00+01:00", "2020-01-01T00:00:00Z"),
        ("[DateTime]", ["2020-01-01T01:00:00+01:00", None], ["2020-01-01T00:00:00Z", None]),
        ("SampleState", "PENDING", "PENDING"),
        ("[TimeBucket!]", ["HOUR"], ["HOUR"]),
        ("[Float]", [0.5, None], [0.5, None]),
        ("JSON", [10**30, -(10**30), True], [10**30, -(10**30), True]),
    ],
)
def test_a_variable_within_a_literal_is_replaced_by_its_value(stack: Stack, kind: str, value: Any, stored: Any) -> None:
    """The variable can have any input type of the schema, lists included."""
    receipt = submitted(stack, "{here: $value}", f"$value: {kind}", value=value)

    assert receipt["raw"]["more"] == {"here": stored}


def test_a_missing_variable_omits_its_member(stack: Stack) -> None:
    """This is the rule for input objects. In a list, a missing variable is null."""
    receipt = submitted(stack, "{here: $value, there: [$value]}", "$value: Int")

    assert receipt["raw"]["more"] == {"there": [None]}


def test_a_literal_does_not_multiply_a_long_variable(stack: Stack) -> None:
    """A document has room for hundreds of copies. The server refuses them before it makes them."""
    query = (SUBMIT % ("$value: String", f"[{'$value ' * 900}]")).replace("()", "")

    response = stack.post_graphql(query, {"value": "a" * 500_000}).json()

    [error] = response["errors"]
    assert "expected at most 65,536 characters in the variables of the sample" in error["message"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("kind", ["Float", "[Float]", "JSON", "Vector"])
def test_a_default_value_beyond_the_range_of_a_double_is_refused(stack: Stack, kind: str) -> None:
    """It would otherwise be stored as null, which statistics can leave out."""
    query = SUBMIT % (f"$value: {kind} = {'-1e999' if kind == 'Float' else '[0.5, 1e999]'}", "{here: [$value]}")

    response = stack.post_graphql(query).json()

    [error] = response["errors"]
    assert (
        "expected numbers within the range of a double (±1.8e308) - in the default value of `value`" in error["message"]
    )
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("kind", ["JSON", "Vector"])
@pytest.mark.parametrize("value", ["RED", "[RED]", "{color: RED}"])
def test_an_enum_value_in_a_default_value_is_refused(stack: Stack, kind: str, value: str) -> None:
    """As in the sample itself, it is probably a text without quotes."""
    response = stack.post_graphql(SUBMIT % (f"$value: {kind} = {value}", "{here: $value}")).json()

    [error] = response["errors"]
    assert "got an enum value; write text in double quotes" in error["message"]
