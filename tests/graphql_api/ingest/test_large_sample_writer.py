"""Only the chunks of stored samples remain in Firestore."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.another_api import AnotherApi
from tests.stack import Stack, eventually

OPENING = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": ['


def count_chunks(stack: Stack) -> int:
    """Return the number of chunks of the submitter in Firestore."""
    chunks = stack.firestore().collection_group("chunks").select([]).stream()
    return sum(each.reference.path.startswith(f"submitters/{stack.submitter}/") for each in chunks)


def post(api: AnotherApi, raw: bytes, **key: str) -> httpx.Response:
    """Submit bytes again until Firestore confirms their writes within the short timeout of the API."""
    while (response := api.post_sample(raw, **key)).status_code == 503:
        pass
    return response


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "no-json"}], ids=["without a key", "with a key"])
def test_chunks_of_invalid_json_are_removed(small_api: AnotherApi, key: dict[str, str]) -> None:
    """They are written before the parser reaches the error. Without a header no client can read them."""
    invalid = OPENING + b"1.25, " * 1_200_000 + b"oops]}"

    with ThreadPoolExecutor(1) as sender:

        def has_chunks_meanwhile() -> bool:
            response, has_chunks = sender.submit(post, small_api, invalid, **key), False
            while not response.done():
                has_chunks = has_chunks or count_chunks(small_api) > 0
            assert response.result().status_code == 400
            return has_chunks

        eventually(has_chunks_meanwhile)  # the chunks exist for a moment, so a request can end between two looks
    eventually(lambda: count_chunks(small_api) == 0)


def test_chunks_of_a_stored_sample_remain(small_api: AnotherApi) -> None:
    """A conflicting sample with the same idempotency key has other chunks, and those are removed."""
    first, second = (OPENING + number * 200_000 + b"1]}" for number in (b"1,", b"2,"))
    stored = post(small_api, first, idempotency_key="one").json()["id"]

    assert post(small_api, second, idempotency_key="one").status_code == 409
    eventually(lambda: count_chunks(small_api) == 1)

    assert small_api.get(f"/samples/{stored}").content == first


def test_a_retry_of_a_large_sample_returns_the_stored_one(small_api: AnotherApi) -> None:
    """Its own chunks are removed, and those of the stored sample remain."""
    raw = OPENING + b"3," * 200_000 + b"1]}"
    before = count_chunks(small_api)

    receipts = [post(small_api, raw, idempotency_key="retried").json() for _ in range(2)]

    assert receipts[0] == receipts[1]
    eventually(lambda: count_chunks(small_api) == before + 1)
    assert small_api.get(f"/samples/{receipts[0]['id']}").content == raw
