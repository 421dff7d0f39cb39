"""Samples as the API receives them."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from storage.documents import Labels, Sample, SampleIdentity, chunk_fields, compress_chunk
from storage.documents.document_paths import StoredDocument
from storage.documents.validation import payload


def received_sample(
    raw: bytes,
    *,
    submitter: str,
    idempotency_key: str | None = None,
    default_labels: Labels | None = None,
    time_zone: str | None = None,
    shards: int = 1,
) -> Sample:
    """Return the sample with the raw document `raw`. Raises `NotJson` if `raw` is not a JSON text."""
    zone = None if time_zone is None else ZoneInfo(time_zone)
    report = payload.validate(raw, zone)
    identity = SampleIdentity.after_parsing(raw, submitter, idempotency_key, report.idempotency_key)
    return Sample.receive(raw, report, identity, default_labels=default_labels, time_zone=zone, shards=shards)


def stored_documents(sample: Sample) -> Iterator[StoredDocument]:
    """Yield the path and the fields of each chunk, and then of the header."""
    for number, path in enumerate(sample.header.chunk_paths()):
        yield path, chunk_fields(compress_chunk(sample.raw, number), sample.header.expire_at)
    yield sample.document()
