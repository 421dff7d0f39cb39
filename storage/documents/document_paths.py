"""The paths of all documents, the names of all collections, and the identity of samples.

Other modules build every path with this module. Paths are relative to the database, for example
`submitters/{submitter}/samples/{id}`. The submitter always comes from the caller's credential, so a tenant cannot
address the documents of another tenant.
"""

import json
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

from storage.documents.labels import Labels

SUBMITTERS = "submitters"
SAMPLES = "samples"
RESULTS = "results"
SERIES = "series"
ROLLUPS = "rollups"
SERIES_ROLLUPS = "series_rollups"
HOURLY_ARCHIVE = "hourly_archive"
HOURLY_ARCHIVE_SERIES = "hourly_archive_series"
CHUNKS = "chunks"
FAILED_ATTEMPTS = "failed_attempts"
RECOMPUTATIONS = "recomputations"
DELETIONS = "deletions"
API_KEYS = "api_keys"
AUDIT_LOG = "audit_log"
DAILY_USAGE = "daily_usage"
SESSIONS = "sessions"
SIGN_IN_TOKENS = "sign_in_tokens"
SETTINGS = "settings"
UPLOADS = "uploads"
AUDITS = "audits"
AUDIT_FINDINGS = "audit_findings"

MAX_IDEMPOTENCY_KEY_CHARACTERS = 255

_NAMESPACE = uuid.UUID("5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90")
_SEARCH_BYTES = 1024 * 1024
_SUBMITTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@|-]{0,99}")

StoredDocument = tuple[str, Mapping[str, object]]
"""The path and the fields of a document."""


def is_submitter(submitter: str) -> bool:
    """Return whether `submitter` is a valid name: 1 to 100 letters, digits, `_`, `.`, `@`, `|` and `-`."""
    return _SUBMITTER.fullmatch(submitter) is not None


def id_of(name: str) -> str:
    """Return the id of a document, the last part of its path or of its full name."""
    return name.rpartition("/")[2]


def submitter(submitter: str) -> str:
    """Return the path of a submitter, the parent of its collections."""
    return f"{SUBMITTERS}/{submitter}"


def sample(submitter: str, sample_id: str) -> str:
    """Return the path of a sample's header."""
    return f"{SUBMITTERS}/{submitter}/{SAMPLES}/{sample_id}"


def chunk(submitter: str, sample_id: str, upload_id: str, number: int) -> str:
    """Return the path of chunk `number` (from 0) that an upload has written.

    If a client sends a sample twice with the same idempotency key, the id of the upload separates the chunks. The
    header names the upload whose chunks belong to the sample.
    """
    return f"{SUBMITTERS}/{submitter}/{SAMPLES}/{sample_id}/{CHUNKS}/{upload_id}-{number:04d}"


def new_upload_id() -> str:
    """Return a random id of an upload."""
    return secrets.token_hex(8)


def upload(document_id: str) -> str:
    """Return the path of a document that exists while no header refers to the chunks of an upload."""
    return f"{UPLOADS}/{document_id}"


def result(submitter: str, sample_id: str) -> str:
    """Return the path of the result of a sample. The result has the same id as the sample."""
    return f"{SUBMITTERS}/{submitter}/{RESULTS}/{sample_id}"


def failed_attempts(submitter: str, sample_id: str) -> str:
    """Return the path of the document that shows how often the function failed for a sample.

    On one machine, the event delivery writes this document (`infra/embedded/stack.toml`). It does not exist on Google
    Cloud.
    """
    return f"{SUBMITTERS}/{submitter}/{FAILED_ATTEMPTS}/{sample_id}"


def series(submitter: str, labels_term: str) -> str:
    """Return the path of the series of the samples whose labels have the index term `labels_term`."""
    return f"{SUBMITTERS}/{submitter}/{SERIES}/{sha256(labels_term.encode()).hexdigest()}"


def rollup(submitter: str, name: str, collection: str = ROLLUPS) -> str:
    """Return the path of the rollups of a day, such as `2026-11-28` or `2026-11-28-1`, or of the checkpoint."""
    return f"{SUBMITTERS}/{submitter}/{collection}/{name}"


def archived_day(submitter: str, day: date) -> str:
    """Return the path of the archived hourly statistics of all results of a day."""
    return f"{SUBMITTERS}/{submitter}/{HOURLY_ARCHIVE}/{day.isoformat()}"


def archived_series_day(submitter: str, day: date, labels_term: str) -> str:
    """Return the path of the archived hourly statistics of a day, for the results with exactly the given labels.

    Paths of earlier days sort first. `labels_term` is the index term of the labels. It is empty without labels.
    """
    digest = sha256(labels_term.encode()).hexdigest()
    return f"{SUBMITTERS}/{submitter}/{HOURLY_ARCHIVE_SERIES}/{day.isoformat()}-{digest}"


def settings(submitter: str) -> str:
    """Return the path of the settings of a submitter."""
    return f"{SUBMITTERS}/{submitter}/{SETTINGS}/{SAMPLES}"


def recomputation(submitter: str, recomputation_id: str) -> str:
    """Return the path of the document that records a recomputation."""
    return f"{SUBMITTERS}/{submitter}/{RECOMPUTATIONS}/{recomputation_id}"


def deletion(submitter: str, deletion_id: str) -> str:
    """Return the path of the document that records a deletion."""
    return f"{SUBMITTERS}/{submitter}/{DELETIONS}/{deletion_id}"


def audit() -> str:
    """Return the path of the state of the audit, which checks that every sample gets a result."""
    return f"{AUDITS}/{SAMPLES}"


def audit_finding(finding_id: str) -> str:
    """Return the path of a list of samples that had no result when the audit checked them."""
    return f"{AUDIT_FINDINGS}/{finding_id}"


def api_key(digest: str) -> str:
    """Return the path of the API key whose SHA-256 is `digest`, in hexadecimal."""
    return f"{API_KEYS}/{digest}"


def audit_entry(submitter: str | None, entry_id: str) -> str:
    """Return the path of an entry of a submitter's audit log, or of the operator's audit log if `submitter` is None."""
    return f"{AUDIT_LOG}/{entry_id}" if submitter is None else f"{SUBMITTERS}/{submitter}/{AUDIT_LOG}/{entry_id}"


def daily_usage(submitter: str, day: date, key_name: str) -> str:
    """Return the path of the usage of a submitter on a day. A key with its own limits has its own document."""
    return f"{SUBMITTERS}/{submitter}/{DAILY_USAGE}/{day.isoformat()}{key_name and f'-{key_name}'}"


def session(digest: str) -> str:
    """Return the path of the browser session whose secret has the SHA-256 `digest`, in hexadecimal."""
    return f"{SESSIONS}/{digest}"


def sign_in_token(digest: str) -> str:
    """Return the path of the one-time token whose SHA-256 is `digest`, in hexadecimal."""
    return f"{SIGN_IN_TOKENS}/{digest}"


def keyed_sample_id(submitter: str, idempotency_key: str) -> str:
    """Return the id of the sample that this submitter sends with `idempotency_key`."""
    return str(uuid.uuid5(uuid.uuid5(_NAMESPACE, submitter), idempotency_key))


def kept_result_id(sample_id: str, sample_update_time: str) -> str:
    """Return the new id of a result that is kept although another sample has taken the id of its sample."""
    return str(uuid.uuid5(uuid.UUID(sample_id), sample_update_time))


def is_uuid(text: str) -> bool:
    """Return whether `text` is a UUID in the canonical form.

    The ids of samples, deletions and recomputations have this form.
    """
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def is_idempotency_key(text: str) -> bool:
    """Return whether `text` is usable as an idempotency key: 1 to 255 printable characters."""
    return 1 <= len(text) <= MAX_IDEMPOTENCY_KEY_CHARACTERS and text.isprintable()


MAX_SHARDS = 512
"""More shards than any deployment needs. Their number can never be reduced, so a typing error would be permanent."""


def shard(sample_id: str, shards: int) -> int:
    """Return the shard of a sample, from 0 to `shards` - 1. Ids are random, so samples spread evenly."""
    return int(sample_id.replace("-", ""), 16) % shards if shards > 1 else 0


@dataclass(frozen=True, slots=True)
class ContentKey:
    """An idempotency key that is derived from the bytes of a sample, unless the sample contains its own key.

    Equal bytes with different `labels` of the request are different samples, and so are corrections of different
    samples: a correction can restore the content of an earlier sample. The Python client derives the same key.
    """

    labels: Labels
    supersedes: str | None = None

    def of(self, raw: bytes) -> str:
        """Return the idempotency key of `raw`."""
        digest = sha256(raw)
        if self.labels:
            digest.update(json.dumps(sorted(self.labels.items())).encode())
        if self.supersedes is not None:
            digest.update(self.supersedes.encode())
        return f"sha256:{digest.hexdigest()}"


@dataclass(frozen=True, slots=True)
class SampleIdentity:
    """The submitter, the id and the digest of a sample."""

    submitter: str
    id: str
    sha256: str
    has_idempotency_key: bool
    """An idempotency key determines the id, so a retry has the same identity."""

    @classmethod
    def of(cls, raw: bytes, submitter: str, idempotency_key: str | ContentKey | None) -> "SampleIdentity":
        """Return the identity of `raw`. The id is derived from the idempotency key. Without a key, the id is random."""
        if isinstance(idempotency_key, ContentKey):
            idempotency_key = idempotency_key.of(raw)
        sample_id = (
            str(uuid.uuid4())  # sequential ids would create a hot spot in Firestore
            if idempotency_key is None
            else keyed_sample_id(submitter, idempotency_key)
        )
        return cls(submitter, sample_id, sha256(raw).hexdigest(), idempotency_key is not None)

    @classmethod
    def after_parsing(
        cls, raw: bytes, submitter: str, idempotency_key: str | ContentKey | None, own_key: str | None
    ) -> "SampleIdentity":
        """Return the identity of `raw`, whose member `idempotency_key` is `own_key`, or None if it is missing.

        A text `idempotency_key` of the request takes precedence over the member. A `ContentKey` does not.
        """
        return cls.of(
            raw, submitter, idempotency_key if isinstance(idempotency_key, str) else own_key or idempotency_key
        )

    @classmethod
    def before_parsing(
        cls, raw: bytes, submitter: str, idempotency_key: str | ContentKey | None
    ) -> "SampleIdentity | None":
        """Return the identity of `raw`, or None if `raw` may contain an idempotency key and must be parsed first."""
        if not isinstance(idempotency_key, str) and (b"\\" in raw or _contains_key(raw)):
            return None  # JSON escapes can spell the name `idempotency_key`
        return cls.of(raw, submitter, idempotency_key)


def _contains_key(raw: bytes) -> bool:
    """Return whether `raw` contains the name of the idempotency key. Several short searches do not block."""
    name = b"idempotency_key"
    starts = range(0, len(raw), _SEARCH_BYTES)
    return any(raw.find(name, start, start + _SEARCH_BYTES + len(name)) >= 0 for start in starts)
