"""Only the chunks of stored samples remain in Firestore."""

import pytest

from tests.stack import Stack, eventually

OPENING = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": ['


def count_chunks(stack: Stack) -> int:
    """Return the number of chunks in Firestore."""
    return len(list(stack.firestore().collection_group("chunks").select([]).stream()))


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "no-json"}], ids=["without a key", "with a key"])
def test_chunks_of_invalid_json_are_removed(small_stack: Stack, key: dict[str, str]) -> None:
    """They are written before the parser reaches the error. Without a header no client can read them."""
    invalid = OPENING + b"1.25, " * 2_000_000 + b"oops]}"

    response = small_stack.post_sample(invalid, **key)

    assert response.status_code == 400
    eventually(lambda: count_chunks(small_stack) > 0)
    eventually(lambda: count_chunks(small_stack) == 0)


def test_chunks_of_a_stored_sample_remain(small_stack: Stack) -> None:
    """A conflicting sample with the same idempotency key has other chunks, and those are removed."""
    first, second = (OPENING + number * 200_000 + b"1]}" for number in (b"1,", b"2,"))
    key = {"content-type": "application/json", "idempotency-key": "one"}
    stored = small_stack.post_sample(first, **key).json()["id"]

    assert small_stack.post_sample(second, **key).status_code == 409
    eventually(lambda: count_chunks(small_stack) == 1)

    assert small_stack.get(f"/samples/{stored}").content == first


def test_a_retry_of_a_large_sample_returns_the_stored_one(small_stack: Stack) -> None:
    """It has the same key and content, so its chunks are those of the stored sample and remain."""
    raw = OPENING + b"3," * 200_000 + b"1]}"
    key = {"content-type": "application/json", "idempotency-key": "retried"}
    before = count_chunks(small_stack)

    receipts = [small_stack.post_sample(raw, **key).json() for _ in range(2)]

    assert receipts[0] == receipts[1]
    assert count_chunks(small_stack) == before + 1
    assert small_stack.get(f"/samples/{receipts[0]['id']}").content == raw
