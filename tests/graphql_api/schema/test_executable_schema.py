"""The schema that the server executes differs from that of Strawberry in what clients cannot see."""

import pytest
from graphql import GraphQLError, is_enum_type

from graphql_api.results.summaries import TimeBucket
from graphql_api.schema.executable_schema import executable_schema


def test_an_unknown_value_of_an_enum_is_not_compared_with_the_known_values() -> None:
    """The comparison with a value of 1 MB takes 80 ms, although the server never sends suggestions."""
    kind = executable_schema().type_map["TimeBucket"]
    assert is_enum_type(kind)

    assert kind.coerce_input_value("HOUR") is TimeBucket.HOUR
    assert kind.coerce_input_value("HOUR", False) is TimeBucket.HOUR
    for unknown in ("HOURR", ""):
        with pytest.raises(GraphQLError) as refused:
            kind.coerce_input_value(unknown)
        assert "Did you mean" not in refused.value.message
