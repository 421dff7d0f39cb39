"""Ids of samples, the idempotency keys that some ids are derived from, and the shard that an id belongs to."""

import uuid

MAX_IDEMPOTENCY_KEY_CHARACTERS = 255
_NAMESPACE = uuid.UUID("5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90")


def keyed_sample_id(submitter: str, idempotency_key: str) -> str:
    """Return the id of the sample that this submitter sends with `idempotency_key`."""
    return str(uuid.uuid5(uuid.uuid5(_NAMESPACE, submitter), idempotency_key))


def is_sample_id(text: str) -> bool:
    """Return whether `text` is a UUID in the canonical form. No sample has any other id."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def is_idempotency_key(text: str) -> bool:
    """Return whether `text` is usable as an idempotency key: 1 to 255 printable characters."""
    return 1 <= len(text) <= MAX_IDEMPOTENCY_KEY_CHARACTERS and text.isprintable()


def shard(sample_id: str, shards: int) -> int:
    """Return the shard of a sample, from 0 to `shards` - 1. The low bits of an id are random."""
    return int(sample_id.replace("-", ""), 16) % shards if shards > 1 else 0
