"""The only place where a collection or a document path is spelled.

Paths are relative to the database: `submitters/{submitter}/samples/{id}`. Whoever speaks to Firestore
puts the database in front. The submitter comes from the credential and from nothing else, so one
tenant can never name a document of another.
"""

import re
import uuid

SUBMITTERS = "submitters"
SAMPLES = "samples"
RESULTS = "results"
CHUNKS = "chunks"
RECOMPUTATIONS = "recomputations"
API_KEYS = "api_keys"

MAX_IDEMPOTENCY_KEY_CHARACTERS = 255
_SUBMITTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}")
_KEYED_SAMPLES = uuid.UUID("5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90")


def is_submitter(submitter: str) -> bool:
    """Tell whether `submitter` may name a tenant: 1 to 100 letters, digits, `_`, `.`, `@` and `-`."""
    return _SUBMITTER.fullmatch(submitter) is not None


def submitter(submitter: str) -> str:
    """Return the path of a tenant, the parent of its collections."""
    return f"{SUBMITTERS}/{submitter}"


def sample(submitter: str, sample_id: str) -> str:
    """Return the path of a sample's header."""
    return f"{SUBMITTERS}/{submitter}/{SAMPLES}/{sample_id}"


def chunk(submitter: str, sample_id: str, digest: str, number: int) -> str:
    """Return the path of chunk `number` (from 0) of a sample whose raw document has the SHA-256 `digest`.

    The digest keeps apart what is sent with the same idempotency key: only one becomes the sample.
    """
    return f"{SUBMITTERS}/{submitter}/{SAMPLES}/{sample_id}/{CHUNKS}/{digest[:16]}-{number:04d}"


def result(submitter: str, sample_id: str) -> str:
    """Return the path of the result of a sample: the sibling collection, the same id."""
    return f"{SUBMITTERS}/{submitter}/{RESULTS}/{sample_id}"


def recomputation(submitter: str, recomputation_id: str) -> str:
    """Return the path of what is known of a recomputation of results."""
    return f"{SUBMITTERS}/{submitter}/{RECOMPUTATIONS}/{recomputation_id}"


def api_key(digest: str) -> str:
    """Return the path of an API key, named by the SHA-256 of the key in hexadecimal."""
    return f"{API_KEYS}/{digest}"


def is_sample_id(text: str) -> bool:
    """Tell whether `text` has the form of the ids we give; anything else names no sample."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def shard(sample_id: str, shards: int) -> int:
    """Return the shard of a sample, 0 to `shards` - 1: ids are random in their low bits."""
    return int(sample_id.replace("-", ""), 16) % shards if shards > 1 else 0


def is_idempotency_key(text: str) -> bool:
    """Tell whether `text` may be an idempotency key: 1 to 255 printable characters."""
    return 1 <= len(text) <= MAX_IDEMPOTENCY_KEY_CHARACTERS and text.isprintable()


def keyed_sample_id(submitter: str, idempotency_key: str) -> str:
    """Return the one id that this submitter's `idempotency_key` stands for."""
    return str(uuid.uuid5(uuid.uuid5(_KEYED_SAMPLES, submitter), idempotency_key))
