"""Results of a submitter that are written through the official Firestore client."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from graphql_api.live.listener import Position
from tests.stack import Stack

SHARDS = 3
MAX_COMMIT_TIME = timedelta(seconds=0.4)


async def write(stack: Stack, submitter: str, count: int) -> list[Position]:
    """Write results whose own times are cut to milliseconds and up to 0.9 s older than their commits.

    Firestore on Google Cloud sets the server time in a document like that. Returns the positions in order.
    """
    generator = random.Random(7)
    client: Any = stack.async_firestore()
    results = client.collection(f"submitters/{submitter}/results")
    positions: list[Position] = []
    for _ in range(count // 5):
        ids = [str(uuid4()) for _ in range(5)]
        is_late = True
        while is_late:  # `Replay` expects commits within 1 s of the times in documents, so a late commit is repeated
            batch = client.batch()
            now = datetime.now().astimezone()
            for number, sample_id in enumerate(ids):
                computed_at = now - timedelta(milliseconds=generator.randrange(500))
                computed_at = computed_at.replace(microsecond=computed_at.microsecond // 1000 * 1000)
                batch.set(results.document(sample_id), {"shard": number % SHARDS, "computed_at": computed_at})
            written = await batch.commit()
            is_late = written[0].update_time - now > MAX_COMMIT_TIME
        positions += [(result.update_time, sample_id) for result, sample_id in zip(written, ids, strict=True)]
    client.close()
    return sorted(positions)
