"""Samples of the pages: many in one request, and one that fails."""

import json
from collections.abc import Iterable
from typing import Any

from storage.documents import document_paths
from tests.stack import Stack


def submit_lines(stack: Stack, key: str, samples: Iterable[object]) -> list[str]:
    """Submit a line per sample. Return the ids in order."""
    body = "\n".join(map(json.dumps, samples)).encode()
    response = stack.post_sample(body, x_api_key=key, content_type="application/x-ndjson")
    receipts = [json.loads(line) for line in response.text.splitlines()]
    return [receipt["id"] for receipt in receipts if "id" in receipt]


def make_failed(stack: Stack, key: str, submitter: str, sample_id: str) -> None:
    """Damage a computed sample and delete its result, and wait until the function has stored FAILED."""
    firestore: Any = stack.firestore()  # `close` has no type hints
    sample = firestore.document(document_paths.sample(submitter, sample_id))
    sample.update({"raw": "{}"})
    firestore.document(document_paths.result(submitter, sample_id)).delete()
    sample.update({"count": 0})  # triggers the function again
    firestore.close()
    stack.wait_for(sample_id, "FAILED", key=key)
