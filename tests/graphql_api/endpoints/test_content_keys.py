"""Idempotency keys that the server derives from the bytes of samples: `Idempotency-Key: content`."""

import json
from collections.abc import Iterator

import httpx
import pytest

from storage.documents.chunks import MAX_INLINE_BYTES
from tests.stack import Stack

LINE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}\n'
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """Return a client with the key of a new submitter."""
    key = stack.new_key("content-keys")
    with httpx.Client(base_url=stack.url, headers={"x-api-key": key}, timeout=30) as opened:
        yield opened


def test_the_keys_of_lines_can_derive_from_their_bytes(client: httpx.Client) -> None:
    """Lines of any size that are sent again are stored once. The labels of the request are a part of the content."""
    large = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%s 1]}\n' % (b"0.5, " * MAX_INLINE_BYTES)
    keyed = LINE.replace(b"{", b'{"idempotency_key": "a line of its own", ')
    bodies = [LINE + large + keyed, keyed + LINE + large, LINE]
    labels: list[dict[str, str]] = [{}, {}, {"x-label-site": "bern"}]

    first, second, labeled = [
        [
            json.loads(line)["id"]
            for line in client.post(
                "/samples", content=body, headers={**NDJSON, "idempotency-key": "content", **headers}
            ).text.splitlines()
        ]
        for body, headers in zip(bodies, labels, strict=True)
    ]

    assert len({*first, *labeled}) == 4
    assert second == [first[2], first[0], first[1]]


def test_the_key_of_a_single_sample_can_derive_from_its_bytes(client: httpx.Client) -> None:
    """A device that sends this header with each sample loses none. A line with the same bytes is the same sample."""
    headers = {"content-type": "application/json", "idempotency-key": "content"}
    samples = [LINE.strip(), LINE.strip().replace(b"1, 2", b"3"), LINE.strip()]
    large = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%s 2]}' % (b"0.5, " * MAX_INLINE_BYTES)

    alone = [client.post("/samples", content=sample, headers=headers).json()["id"] for sample in [*samples, large]]
    lines = client.post("/samples", content=b"\n".join([*samples, large]), headers={**headers, **NDJSON}).text
    again = client.post("/samples", content=samples[0], headers={**headers, "x-supersedes": alone[1]}).json()

    assert [json.loads(line)["id"] for line in lines.splitlines()] == alone
    assert alone[0] == alone[2]
    assert len({*alone, again["id"]}) == 4
