"""Samples of any size, with as many digits per number as real measurements."""

import json
import random
from functools import cache

SEED = 20190501
TIME_STAMP = "2019-05-01T06:00:00-04:00"
SUBMIT = "mutation ($sample: RawSample!) { submit(sample: $sample) { id state } }"
PEER_SUBMIT = "mutation ($sample: SampleInput!) { submit(sample: $sample) { id state } }"
PEER_CHECK = "mutation ($sample: SampleInput!) { check(sample: $sample) }"


@cache
def numbers(count: int) -> str:
    """Return `count` numbers as a JSON array; a million are about 20 MB."""
    chance = random.Random(SEED)
    return json.dumps([chance.gauss(1, 1) for _ in range(count)])


def sample(count: int) -> bytes:
    """Return a sample for Dropzone."""
    return f'{{"time_stamp": "{TIME_STAMP}", "data": {numbers(count)}}}'.encode()


def sample_of_bytes(size: int) -> bytes:
    """Return a sample of about `size` bytes."""
    return sample(round(size / (len(numbers(10_000)) / 10_000)))


def submission(raw: bytes) -> bytes:
    """Return the GraphQL request that submits a sample to Dropzone."""
    return b'{"query": %b, "variables": {"sample": %b}}' % (json.dumps(SUBMIT).encode(), raw)


def peer_request(count: int, query: str = PEER_SUBMIT) -> bytes:
    """Return the same for the peers, whose schema has `data: [Float!]!`."""
    written = f'{{"timeStamp": "{TIME_STAMP}", "data": {numbers(count)}}}'
    return f'{{"query": {json.dumps(query)}, "variables": {{"sample": {written}}}}}'.encode()
