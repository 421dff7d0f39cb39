"""Many samples, submitted in one request."""

import json
from collections.abc import Iterable

from tests.stack import Stack


def submit_lines(stack: Stack, key: str, samples: Iterable[object]) -> list[str]:
    """Submit a line per sample. Return the ids in order."""
    body = "\n".join(map(json.dumps, samples)).encode()
    response = stack.post_sample(body, x_api_key=key, content_type="application/x-ndjson")
    receipts = [json.loads(line) for line in response.text.splitlines()]
    return [receipt["id"] for receipt in receipts if "id" in receipt]
