"""The form of an API key."""

import string

from hypothesis import given
from hypothesis import strategies as st

from graphql_api.auth.api_keys import is_key, new_key

CHARACTERS = string.ascii_letters + string.digits + "-_"


@given(position=st.integers(0, 53), character=st.sampled_from(CHARACTERS))
def test_the_checksum_detects_a_mistyped_character(position: int, character: str) -> None:
    """Such a key is refused without a read from Firestore."""
    key = new_key()
    typed = key[:position] + character + key[position + 1 :]

    assert is_key(key)
    assert is_key(typed) == (typed == key)


def test_a_key_of_another_length_is_refused() -> None:
    """A key may have lost its end, or a newline may follow it."""
    key = new_key()

    assert not any(map(is_key, (key[:-1], key + "0", key + "\n", " " + key, key + key)))
