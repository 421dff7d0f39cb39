"""Prometheus metrics of the calls to Firestore."""

import grpc
from prometheus_client import Counter, Histogram

BATCH_WRITE_SIZE = Histogram(
    "dropzone_batch_write_size", "Writes in each BatchWrite.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
FIRESTORE_ERRORS = Counter("dropzone_firestore_errors", "Calls and writes that Firestore rejected, by code.", ["code"])

# Prometheus sees no increase in a counter whose first value is 1, so the codes in alerts start at 0.
for _code in ("ABORTED", "DATA_LOSS", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"):
    FIRESTORE_ERRORS.labels(_code)


def count_error(code: grpc.StatusCode) -> None:
    """Count one failed call or write."""
    FIRESTORE_ERRORS.labels(code.name).inc()
