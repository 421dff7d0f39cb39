"""SQL statements with lists have few texts."""

from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.firestore.parameter_lists import padded


@given(st.lists(st.integers(), min_size=1, max_size=600))
def test_padding_adds_no_value(values: list[int]) -> None:
    """It repeats the last one."""
    assert padded(values)[: len(values)] == values
    assert set(padded(values)) == set(values)


def test_lists_of_up_to_500_values_have_ten_lengths() -> None:
    """So a connection keeps ten statements, and not 500."""
    assert {len(padded([0] * count)) for count in range(1, 501)} == {1, 2, 4, 8, 16, 32, 64, 128, 256, 512}
